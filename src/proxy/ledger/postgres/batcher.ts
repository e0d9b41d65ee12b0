import { limits } from '../../../limits.ts';

/**
 * Runs many requests together: those that come while one batch is under way are the next one. A request whose key is in
 * a batch already, or that would make it larger than limits.databaseRows, waits for the batch after it.
 */
export class Batcher<Request, Result> {
  readonly #run: (requests: readonly Request[]) => Promise<Result[]>;
  readonly #keyOf: (request: Request) => string | undefined;
  readonly #sizeOf: (request: Request) => number;
  #waiting: Waiting<Request, Result>[] = [];
  #isBusy = false;

  /** `run` gives the results in the order of the requests. */
  constructor(
    run: (requests: readonly Request[]) => Promise<Result[]>,
    {
      keyOf = () => undefined,
      sizeOf,
    }: {
      keyOf?: (request: Request) => string | undefined;
      sizeOf: (request: Request) => number;
    },
  ) {
    this.#run = run;
    this.#keyOf = keyOf;
    this.#sizeOf = sizeOf;
  }

  /** The result of a request; rejects as the batch that it was in. */
  async add(request: Request): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject });
      if (!this.#isBusy) {
        this.#isBusy = true;
        setImmediate(() => void this.#work());
      }
    });
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      try {
        const results = await this.#run(batch.map(({ request }) => request));
        batch.forEach(({ resolve }, at) => resolve(results[at] as Result));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#isBusy = false;
  }

  #take(): Waiting<Request, Result>[] {
    const keys = new Set<string>();
    const batch: Waiting<Request, Result>[] = [];
    const rest: Waiting<Request, Result>[] = [];
    let size = 0;
    for (const each of this.#waiting) {
      const key = this.#keyOf(each.request);
      const sizeWith = size + this.#sizeOf(each.request);
      const isFull = batch.length > 0 && sizeWith > limits.databaseRows;
      const fits = !isFull && (key === undefined || !keys.has(key));
      (fits ? batch : rest).push(each);
      if (key !== undefined) keys.add(key);
      if (fits) size = sizeWith;
    }
    this.#waiting = rest;
    return batch;
  }
}

interface Waiting<Request, Result> {
  request: Request;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}
