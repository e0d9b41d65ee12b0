import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { limits } from '../limits.ts';
import { withinTime } from './within-time.ts';

/** A function that runs in a thread; `file` answers its calls (`answerCalls`). */
export interface ThreadOptions {
  file: URL;
  name: string;
  /** How long one call may take. */
  ms: number;
  /** How much memory it may use, buffers aside. */
  heapMiB: number;
}

/** What a thread says of a call. */
export type ThreadAnswer = { result: unknown } | { error: unknown };

/**
 * A function that is called in a thread of its own, which is ended when a call takes too long: for what takes
 * minutes with some input, in which nobody else would be answered. One call after the other, so that none
 * takes another's time. The thread is kept for the next calls for a while.
 */
export class Thread<Arguments extends readonly unknown[], Result> {
  readonly #options: ThreadOptions;
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ThreadOptions) {
    this.#options = options;
  }

  /**
   * Calls it with copies of the arguments. Rejects with what it throws, a TimeUpError when it took too long, or
   * an error with the code ERR_WORKER_OUT_OF_MEMORY.
   */
  async call(...args: Arguments): Promise<Result> {
    const result = this.#last.then(async () => this.#run(args));
    this.#last = result.catch(() => {});
    return result;
  }

  async #run(args: Arguments): Promise<Result> {
    clearTimeout(this.#idle);
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    let answer: ThreadAnswer | undefined;
    try {
      const answers = withinTime(
        this.#options.ms,
        'the work did not end',
        {},
        async ({ signal }) => {
          worker.postMessage(args, []);
          return once(worker, 'message', { signal }).catch((error: Error) => {
            throw signal.aborted ? signal.reason : error;
          });
        },
      );
      [answer] = (await answers) as [ThreadAnswer];
    } finally {
      if (answer) this.#rest(worker);
      else await this.#end(worker);
    }
    if ('error' in answer) throw answer.error;
    return answer.result as Result;
  }

  #start(): Worker {
    const { file, name, heapMiB } = this.#options;
    const resourceLimits = { maxOldGenerationSizeMb: heapMiB };
    const worker = new Worker(file, { workerData: name, env: {}, resourceLimits });
    worker.on('error', () => {}); // Also when nobody waits for it.
    return worker;
  }

  /** Without calls it keeps neither the program alive nor, for long, its memory. */
  #rest(worker: Worker): void {
    worker.unref();
    this.#idle = setTimeout(() => void this.#end(worker), limits.threadIdleMs).unref();
  }

  async #end(worker: Worker): Promise<void> {
    if (this.#worker === worker) this.#worker = undefined;
    await worker.terminate();
  }
}
