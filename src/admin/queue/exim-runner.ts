import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { exitCodes, Failure } from '../../host/failure.ts';
import { withoutSecrets } from '../../host/settings.ts';
import {
  END,
  framesOf,
  lengthField,
  OPCODES,
  type EximAnswer,
  type EximRequest,
  type EximRun,
} from './exim-requests.ts';

/**
 * Runs Exim by a process of its own (`run-exim`), which stays root when this one, which opens the spool, gives that
 * up (law 14). It ends with this process.
 */
export class EximRunner {
  readonly program: string;
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  /** Starts the process; Exim itself is run when it is asked. */
  constructor(program: string) {
    this.program = program;
    const args = [process.argv[1] ?? '', 'queue', 'run-exim', `--exim=${program}`];
    this.#process = spawn(process.execPath, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: withoutSecrets(process.env),
    });
    this.#process.stdin.on('error', () => {}); // Then it has ended, and gives no answer.
    this.#ended = once(this.#process, 'close').catch(() => {});
    this.#answers = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  /** Runs Exim on the input. Throws what the input throws, and Failure 78 when there is no such program. */
  async run(request: EximRequest, input: Iterable<Buffer>): Promise<EximRun> {
    await this.#write(Buffer.of(OPCODES[request]));
    try {
      for (const frame of framesOf(input)) await this.#write(frame);
    } catch (error) {
      await this.#answer();
      throw error;
    }
    const answer = await this.#answer();
    if (!('fault' in answer)) return answer;
    const hint = 'name Exim’s program with --exim or APPENGINE_MAILER_EXIM';
    throw new Failure(
      exitCodes.configuration,
      `cannot run ${this.program}: ${answer.fault}; ${hint}`,
    );
  }

  async end(): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }

  async #write(bytes: Buffer): Promise<void> {
    const { stdin } = this.#process;
    if (stdin.write(bytes) || stdin.destroyed) return;
    await Promise.race([once(stdin, 'drain').catch(() => {}), this.#ended]);
  }

  /** Ends the input. */
  async #answer(): Promise<EximAnswer> {
    await this.#write(lengthField(END));
    const { value, done } = await this.#answers.next();
    if (!done) return JSON.parse(value) as EximAnswer;
    throw new Error('the process that runs Exim has ended');
  }
}
