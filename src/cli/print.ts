import { once } from 'node:events';
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

/** Prints bytes as they are, as cat(1) does. */
export async function printBytes(bytes: Buffer): Promise<void> {
  await write(bytes);
}

async function write(output: string | Buffer): Promise<void> {
  if (!process.stdout.write(output)) await once(process.stdout, 'drain');
}

/** Waits until everything printed has left the process: exiting before that would cut it off. */
export async function printed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise((resolve) => stream.write('', resolve));
  }
}
