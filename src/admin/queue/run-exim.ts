import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import type { CommandModule } from 'yargs';
import { exitCodes, Failure } from '../../host/failure.ts';
import { withoutSecrets } from '../../host/settings.ts';
import { limits } from '../../mail/limits.ts';
import { printJson } from '../print.ts';
import { END, LENGTH_BYTES, OPCODES, type EximAnswer, type EximRequest } from './exim-requests.ts';

/**
 * `appengine-mailer queue run-exim`, for EximRunner alone: runs Exim on what comes by standard input, and answers on standard
 * output. It opens no file of the spool, and ends with its input, whatever Exim does then.
 */
export const runEximCommand: CommandModule<object, { exim: string }> = {
  command: 'run-exim',
  describe: false,
  builder: (yargs) => yargs.option('exim', { type: 'string', demandOption: true }),
  handler: async ({ exim }) => {
    const requests = new Requests(process.stdin);
    let next = requests.next();
    for (;;) {
      const request = await next;
      if (request === undefined) return;
      const run = new Run(exim, ARGS[request]);
      await run.feed(requests);
      next = requests.next();
      // Nobody asks again before the answer: what comes first is the end.
      const answer = await Promise.race([run.ended, next.then(() => undefined)]);
      if (answer === undefined) return;
      await printJson(answer);
    }
  },
};

const ARGS: Record<EximRequest, readonly string[]> = { route: ['-bt'], take: ['-bS', '-oep'] };

/** A run of Exim, which may end before it has read its input. */
class Run {
  readonly ended: Promise<EximAnswer>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #output = { stdout: '', stderr: '' };

  constructor(exim: string, args: readonly string[]) {
    const child = spawn(exim, args, {
      timeout: limits.eximMs,
      killSignal: 'SIGKILL',
      env: withoutSecrets(process.env),
    });
    this.#child = child;
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => this.#take(name, text));
    }
    child.stdin.on('error', () => {}); // It need not read all.
    this.ended = once(child, 'close').then(
      ([code]) => {
        const readAll = child.stdin.writableFinished;
        return { code: code as number | null, readAll, ...this.#output };
      },
      (error: Error) => ({ fault: error.message }),
    );
  }

  /** Gives it the frames of a request, to the end of which the requests are read in any case. */
  async feed(requests: Requests): Promise<void> {
    for (;;) {
      const frame = await requests.frame();
      if (frame === undefined) break;
      const { stdin } = this.#child;
      if (stdin.destroyed || stdin.write(frame)) continue;
      await Promise.race([once(stdin, 'drain').catch(() => {}), this.ended]);
    }
    this.#child.stdin.end();
  }

  #take(name: 'stdout' | 'stderr', text: string): void {
    this.#output[name] += text;
    if (this.#output[name].length > limits.eximOutputBytes) this.#child.kill('SIGKILL');
  }
}

/** Requests as EximRunner writes them. */
class Requests {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(input: AsyncIterable<Buffer>) {
    this.#chunks = input[Symbol.asyncIterator]();
  }

  /** Undefined at the end. */
  async next(): Promise<EximRequest | undefined> {
    const opcode = (await this.#bytes(1))?.[0];
    if (opcode === undefined) return undefined;
    if (opcode === OPCODES.route) return 'route';
    if (opcode === OPCODES.take) return 'take';
    throw new Failure(exitCodes.defect, 'what is to be asked of Exim is not known');
  }

  /** Undefined at the end of the request's input. */
  async frame(): Promise<Buffer | undefined> {
    const length = (await this.#bytes(LENGTH_BYTES))?.readUInt32BE() ?? END;
    if (length === END) return undefined;
    if (length > limits.eximFrameBytes) {
      throw new Failure(exitCodes.defect, `a frame for Exim has ${length} bytes`);
    }
    return this.#bytes(length);
  }

  /** The next bytes; undefined when the input ends before. */
  async #bytes(count: number): Promise<Buffer | undefined> {
    const chunks = [this.#rest];
    let size = this.#rest.length;
    while (size < count) {
      const { value, done } = await this.#chunks.next();
      if (done) return undefined;
      chunks.push(value);
      size += value.length;
    }
    const all = chunks.length === 1 ? this.#rest : Buffer.concat(chunks);
    this.#rest = all.subarray(count);
    return all.subarray(0, count);
  }
}
