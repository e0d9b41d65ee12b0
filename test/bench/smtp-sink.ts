import { spawn } from 'node:child_process';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { account } from '../support/account.ts';
import { POSTFIX } from '../support/needs.ts';
import { Program } from '../support/program.ts';
import { POSTFIX_ENV } from '../support/start-postfix.ts';
import { until } from '../support/until.ts';

/** Postfix's smtp-sink, which takes every message and keeps none. */
export class SmtpSink {
  readonly port: number;
  #count = 0;
  #waiting = () => {};

  private constructor(port: number) {
    this.port = port;
  }

  /** It listens at an address of IPv4. */
  static async start(t: TestContext, address = '127.0.0.1'): Promise<SmtpSink> {
    const sink = new SmtpSink(await freePort());
    const program = join(POSTFIX ?? '', 'usr/sbin/smtp-sink');
    const args = ['-u', account().name, '-c', `${address}:${sink.port}`, '1000'];
    const child = spawn(program, args, { env: POSTFIX_ENV });
    t.after(async () => new Program(child).stop());
    // It shows its counters each time that one of them changes.
    child.stdout.on('data', (chunk: Buffer) => {
      const shown = chunk.toString('latin1').lastIndexOf('mesg=');
      if (shown >= 0) sink.#count = Number.parseInt(chunk.toString('latin1').slice(shown + 5), 10);
      sink.#waiting();
    });
    await until(
      async () => listens(address, sink.port),
      () => 'smtp-sink does not listen',
    );
    return sink;
  }

  /** Resolves when it has taken so many messages. */
  async taken(count: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting = () => {
        if (this.#count >= count) resolve();
      };
      this.#waiting();
    });
  }
}

/** A port of 127.0.0.1 that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whether somebody listens at an address. */
async function listens(address: string, port: number): Promise<boolean> {
  const socket = connect(port, address);
  const heard = new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  return heard.finally(() => socket.destroy());
}
