import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { jsonLine } from '../mail/json-line.ts';
import { printable } from '../mail/printable.ts';

/** Prints a line, or several: each is one, whatever foreign text is in it. Waits while their reader is behind. */
export async function print(lines: string | readonly string[]): Promise<void> {
  await write(
    [lines]
      .flat()
      .map((line) => `${printable(line)}\n`)
      .join(''),
  );
}

/** Prints a value as a line of JSON. */
export async function printJson(value: object): Promise<void> {
  await write(`${jsonLine(value)}\n`);
}

/** Prints a text of our own, of several lines. */
export async function printText(text: string): Promise<void> {
  if (text !== '') await print(text.split('\n'));
}

/** Prints bytes as they are, as cat(1) does. */
export async function printBytes(bytes: Buffer): Promise<void> {
  await write(bytes);
}

/** Runs an action whose commands print into a stream, and not to standard output. */
export async function printingInto<T>(stream: Writable, action: () => Promise<T>): Promise<T> {
  return outputs.run(stream, action);
}

async function write(text: string | Buffer): Promise<void> {
  const stdout = outputs.getStore() ?? process.stdout;
  if (!stdout.write(text)) await once(stdout, 'drain');
}

const outputs = new AsyncLocalStorage<Writable>();

/** Waits until everything printed has left the process: exiting before that would cut it off. */
export async function printed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise((resolve) => stream.write('', resolve));
  }
}
