import { createHash } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { statuses } from '../../mail/enhanced-status.ts';
import { BackendUnavailable, type Backend, type Delivery } from '../backend.ts';

/**
 * Delivers into a folder: NAME.eml has the message's exact bytes, NAME.json its id and envelope. Each
 * appears whole or not at all, and is on disk when the message counts as sent; the .json comes first,
 * so that an .eml, the delivery, always has its envelope. The name follows from id and recipients:
 * sending again replaces the same files.
 */
export async function fileBackend(folder: string): Promise<Backend> {
  await mkdir(folder, { recursive: true });
  return async (delivery) => {
    const { id, sender, recipients, bytes } = delivery;
    const path = join(folder, fileName(delivery));
    try {
      await writeWhole(`${path}.json`, `${JSON.stringify({ id, sender, recipients })}\n`);
      await writeWhole(`${path}.eml`, bytes);
      await syncFolder(folder);
    } catch (error) {
      throw new BackendUnavailable(`cannot deliver into ${folder}: ${(error as Error).message}`);
    }
    return recipients.map((recipient) => ({
      recipient,
      status: statuses.sent,
      reason: `delivered as ${fileName(delivery)}.eml`,
    }));
  };
}

function fileName({ id, recipients }: Delivery): string {
  const digest = createHash('sha256').update(recipients.toSorted().join('\n')).digest('hex');
  return `${id}-${digest.slice(0, 8)}`;
}

async function writeWhole(path: string, content: string | Buffer): Promise<void> {
  const temporary = `${path}.part`;
  try {
    const file = await open(temporary, 'w', 0o640);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
