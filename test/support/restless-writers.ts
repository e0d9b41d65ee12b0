import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { RestlessWriter } from './restless-writer.ts';
import { until } from './until.ts';

/** Threads that hand over messages to a spool without pause. They end with the test. */
export class RestlessWriters {
  readonly #commits = new Int32Array(new SharedArrayBuffer(4));
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #threads: readonly Worker[];

  constructor(
    t: TestContext,
    count: number,
    work: Pick<RestlessWriter, 'folder' | 'message' | 'holdMs'>,
  ) {
    // Whatever the main thread was started with.
    const execArgv = ['--import', besideThis('tsx-in-threads.mjs').href];
    const shared = { commits: this.#commits, stop: this.#stop };
    this.#threads = Array.from({ length: count }, (_, nth) => {
      const workerData: RestlessWriter = { ...work, ...shared, name: `writer-${nth}` };
      return new Worker(besideThis('restless-writer.ts'), { workerData, execArgv });
    });
    t.after(async () => Promise.all(this.#threads.map(async (thread) => thread.terminate())));
  }

  /** How often they have committed. */
  get commits(): number {
    return Atomics.load(this.#commits, 0);
  }

  /** Resolves when all of them are at work. */
  async started(): Promise<void> {
    const most = this.#threads.length * 5;
    await until(
      () => this.commits >= most,
      () => `${this.commits} commits`,
    );
  }

  async stop(): Promise<void> {
    Atomics.store(this.#stop, 0, 1);
    await Promise.all(this.#threads.map(async (thread) => once(thread, 'exit')));
  }
}

function besideThis(file: string): URL {
  return new URL(file, import.meta.url);
}
