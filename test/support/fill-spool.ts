import { createHash } from 'node:crypto';
import { enqueue } from '../../src/spool/enqueue.ts';
import { Spool } from '../../src/spool/spool.ts';

/** A message to hand in. */
export interface Message {
  sender: string;
  recipients: string[];
  bytes: Buffer;
}

/**
 * Puts messages into a spool in this process, which takes a moment where hundreds of hand-overs through
 * exim-pipe would take a minute, and wakes its drain. Returns them under the ids they were given.
 */
export function fillSpool(folder: string, messages: readonly Message[]): Map<string, Message> {
  const spool = new Spool(folder, 'pipe');
  try {
    const handedIn = messages.map((message, index) => {
      const { sender, recipients, bytes } = message;
      const digest = createHash('sha256').update(bytes).digest();
      const handOver = {
        eximId: `filled-${index}`,
        envelope: { sender, recipients },
        bytes,
        digest,
      };
      return [enqueue(spool, handOver, Date.now()).id, message] as const;
    });
    spool.wakeDrain();
    return new Map(handedIn);
  } finally {
    spool.close();
  }
}
