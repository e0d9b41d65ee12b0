import { once } from 'node:events';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { exitCodes, CommandError } from '../../host/command-error.ts';
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
 * Has Exim run by the process that started this one (`serveExim`): it may be root, which this one, which works on the
 * spool, is not (law 14).
 */
export class EximRunner {
  readonly program: string;
  readonly #socket: Socket;
  readonly #answers: AsyncIterator<string>;

  /** The program is the other process's choice. */
  constructor(program: string) {
    this.program = program;
    this.#socket = new Socket({ fd: EXIM_FD });
    this.#socket.on('error', () => {}); // Then there is no answer.
    this.#answers = createInterface(this.#socket)[Symbol.asyncIterator]();
  }

  /** Runs Exim on the input. Throws what the input throws, and CommandError 78 when there is no such program. */
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
    const hint = "name Exim's program with --exim or APPENGINE_MAILER_EXIM";
    throw new CommandError(
      exitCodes.configuration,
      `cannot run ${this.program}: ${answer.fault}; ${hint}`,
    );
  }

  end(): void {
    this.#socket.destroy();
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#socket.destroyed || this.#socket.write(bytes)) return;
    await once(this.#socket, 'drain').catch(() => {});
  }

  /** Ends the input. */
  async #answer(): Promise<EximAnswer> {
    await this.#write(lengthField(END));
    const { value, done } = await this.#answers.next();
    if (!done) return JSON.parse(value) as EximAnswer;
    throw new EximRunnerEndedError();
  }
}

/** Nobody can say whether Exim has what it was given. */
export class EximRunnerEndedError extends CommandError {
  override readonly name = 'EximRunnerEndedError';

  constructor() {
    super(exitCodes.busy, 'the process that runs Exim has ended; see the log of Exim');
  }
}

/** The descriptor by which both processes speak. */
export const EXIM_FD = 3;
