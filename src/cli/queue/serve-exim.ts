import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { asOwner, endWith, ownerToBecome } from '../../host/give-up-root.ts';
import { withoutSecrets } from '../../host/settings.ts';
import { limits } from '../../limits.ts';
import { stderrLine } from '../../host/stderr-line.ts';
import { EXIM_FD } from './exim-runner.ts';
import { END, LENGTH_BYTES, OPCODES, type EximAnswer, type EximRequest } from './exim-requests.ts';

/**
 * Runs `queue return` again as the owner of the spool's folder, with --by-owner, and runs Exim for it with the rights of
 * this process, which gets frames and opens no file of the spool. Ends as the other process does.
 */
export async function serveExim(exim: string, folder: string): Promise<never> {
  const [program, ...args] = process.argv.slice(1);
  // Where there is no folder, the other process says so.
  const owner = existsSync(folder) ? ownerToBecome(folder) : undefined;
  const [file, ...words] = asOwner(owner, [program ?? '', '--by-owner=true', ...args]);
  const child = spawn(file, words, {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: withoutSecrets(process.env),
  });
  void answerAll(exim, child.stdio[EXIM_FD] as Duplex).catch((error: Error) => {
    stderrLine(`appengine-mailer: ${error.message}`);
    child.stdio[EXIM_FD]?.destroy();
  });
  return endWith(child);
}

async function answerAll(exim: string, socket: Duplex): Promise<void> {
  socket.on('error', () => {}); // The other process has ended.
  const requests = new Requests(socket);
  for (;;) {
    const request = await requests.next();
    if (request === undefined) return;
    const run = new Run(exim, ARGS[request]);
    await run.feed(requests);
    socket.write(`${JSON.stringify(await run.ended)}\n`);
  }
}

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
    throw new Error(`there is no request ${opcode} for Exim`);
  }

  /** Undefined at the end of the request's input. */
  async frame(): Promise<Buffer | undefined> {
    const length = (await this.#bytes(LENGTH_BYTES))?.readUInt32BE() ?? END;
    if (length === END) return undefined;
    if (length > limits.eximFrameBytes) {
      throw new Error(`a frame for Exim has ${length} bytes`);
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
