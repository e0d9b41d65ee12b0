import { closeSync, read } from 'node:fs';
import { createRequire } from 'node:module';
import type { TestContext } from 'node:test';

const koffi = createRequire(import.meta.url)(`@koromix/koffi-linux-${process.arch}`) as {
  load(file: null): { func(prototype: string): (...values: (number | Buffer)[]) => number };
};
const library = koffi.load(null);
const socket = library.func('int socket(int domain, int type, int protocol)');
const bind = library.func('int bind(int fd, const void *address, uint32_t size)');
const shutdown = library.func('int shutdown(int fd, int how)');

/** What stands at the other end of datagrams to a Unix socket, for the test. `path` may be abstract, after a NUL. */
export class DatagramServer {
  /** Each datagram, in its order. */
  readonly received: Buffer[] = [];
  readonly #fd = socket(1, 2, 0);
  #reading = false;
  #heard = () => {};

  constructor(t: TestContext, path: string) {
    const name = Buffer.from(path.startsWith('\0') ? path : `${path}\0`);
    const address = Buffer.concat([Buffer.from([1, 0]), name]);
    if (bind(this.#fd, address, address.length) !== 0) throw new Error(`cannot bind to ${path}`);
    t.after(() => {
      this.#heard = () => {};
      shutdown(this.#fd, 2); // Ends the read.
      if (!this.#reading) closeSync(this.#fd);
    });
  }

  /** Begins to take datagrams; until then they wait in the socket. `heard` is called after each. */
  listen(heard: () => void): this {
    this.#heard = heard;
    this.#reading = true;
    const bytes = Buffer.alloc(2 ** 20);
    const next = () =>
      read(this.#fd, bytes, 0, bytes.length, null, (error, size) => {
        if (error || size === 0) {
          closeSync(this.#fd);
          return;
        }
        this.received.push(Buffer.from(bytes.subarray(0, size)));
        this.#heard();
        next();
      });
    next();
    return this;
  }
}
