import { once } from 'node:events';

/** Writes to standard output, and waits while its reader is behind. */
export async function print(output: string | Uint8Array): Promise<void> {
  if (!process.stdout.write(output)) await once(process.stdout, 'drain');
}

/** Waits until everything printed has left the process: exiting before that would cut it off. */
export async function printed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise((resolve) => stream.write('', resolve));
  }
}
