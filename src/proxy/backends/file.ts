import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemClock, type Clock } from '../../host/clock.ts';
import { requireRootGivenUp } from '../../host/give-up-root.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import { BackendUnavailableError, unlimited, type Backend, type Delivery } from './backend.ts';

/**
 * Delivers into a folder: NAME.eml has the exact bytes of the message, NAME.json its id and envelope. Each file appears
 * whole or not at all, and is on disk when the message counts as sent. The .json comes first, so that an .eml, which is
 * the delivery, always has its envelope. The name is made of key, id and recipients: sending again replaces the same
 * files, and no host replaces those of another.
 */
export async function fileBackend(folder: string, clock: Clock = systemClock): Promise<Backend> {
  requireRootGivenUp(existsSync(folder) ? folder : dirname(folder));
  // Not recursive: in /proc that never ends, and where a mount is missing, mail would get into the folder below it.
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await removeLeftovers(folder, clock);
  return unlimited(async (delivery) => {
    const { id, sender, recipients, bytes } = delivery;
    const path = join(folder, fileName(delivery));
    try {
      await writeWhole(`${path}.json`, `${JSON.stringify({ id, sender, recipients })}\n`, clock);
      await writeWhole(`${path}.eml`, bytes, clock);
      await syncFolder(folder);
    } catch (error) {
      throw new BackendUnavailableError(
        `cannot deliver into ${folder}: ${(error as Error).message}`,
      );
    }
    return recipients.map((recipient) => ({
      recipient,
      status: statuses.sent,
      reason: `delivered as ${fileName(delivery)}.eml`,
    }));
  });
}

function fileName({ key, id, recipients }: Delivery): string {
  const digest = createHash('sha256').update(recipients.toSorted().join('\n')).digest('hex');
  return `${key === '' ? '' : `${key}.`}${id}-${digest.slice(0, 8)}`;
}

/**
 * Removes half-written files of a proxy that died. Other proxies may use the folder: so a file is removed only when it is
 * still there after the longest time of a delivery, by a clock that does not jump. If another proxy is even slower, its
 * delivery fails and is posted again.
 */
async function removeLeftovers(folder: string, clock: Clock): Promise<void> {
  const names = (await readdir(folder)).filter((name) => LEFTOVER.test(name));
  if (names.length === 0) return;
  const remove = async () => {
    for (const name of names) await rm(join(folder, name), { force: true });
  };
  // Files that cannot be removed now are found again at the next start.
  clock.timer(limits.deliveryMs, () => void remove().catch(() => {}), { idle: true });
}

const LEFTOVER = /-[0-9a-f]{8}\.(?:eml|json)\.[0-9a-f]{16}\.part$/;

/** The temporary name is new each time: a call that took too long may still be writing the same file. */
async function writeWhole(path: string, content: string | Buffer, clock: Clock): Promise<void> {
  const temporary = `${path}.${clock.randomBytes(8).toString('hex')}.part`;
  try {
    const file = await open(temporary, 'wx', 0o640);
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
