import { enqueue } from '../../src/spool/enqueue.ts';
import { Spool } from '../../src/spool/spool.ts';
import { asOwner } from './as-owner.ts';
import { handOver } from './hand-over.ts';

/** A message for the spool; what is left out is made up. */
export interface Mail {
  sender?: string;
  recipients?: string[];
  bytes?: Buffer | string;
}

/**
 * Puts messages into the spool as exim-pipe does, without the cost of its process, and wakes drain
 * once. `queuedAt` is what his wall clock says. Returns their ids.
 */
export function handIn(
  folder: string,
  mails: readonly Mail[],
  { queuedAt, wake = true }: { queuedAt?: number; wake?: boolean } = {},
): string[] {
  return asOwner(folder, () => store(folder, mails, queuedAt, wake));
}

function store(
  folder: string,
  mails: readonly Mail[],
  queuedAt: number | undefined,
  wake: boolean,
): string[] {
  const spool = new Spool(folder, 'pipe');
  const ids = mails.map(({ sender, recipients, bytes }) => {
    handedIn += 1;
    const message = bytes ?? `Subject: number ${handedIn}\n\nHello\n`;
    const eximId = `test-${handedIn}`;
    return enqueue(spool, handOver({ eximId, sender, recipients, message }), spool.now()).id;
  });
  const date = spool.sql('UPDATE message SET queued_at = ? WHERE id = ?');
  if (queuedAt !== undefined) for (const id of ids) date.run(queuedAt, id);
  if (wake) spool.wakeDrain();
  spool.close();
  return ids;
}

let handedIn = 0;
