import { createHash } from 'node:crypto';
import type { HandOver } from '../../src/spool/enqueue.ts';

/** A message as exim-pipe hands it to the spool; what the test does not care about has a default. */
export function handOver({
  eximId = '1abc-0',
  sender = 's@example.com',
  recipients = ['r@example.org'],
  message = 'Subject: x\n\nhello\n',
}: {
  eximId?: string | undefined;
  sender?: string | undefined;
  recipients?: readonly string[] | undefined;
  message?: string | Buffer | undefined;
} = {}): HandOver {
  const bytes = Buffer.from(message);
  const digest = createHash('sha256').update(bytes).digest();
  return { eximId, envelope: { sender, recipients: [...recipients] }, pieces: [bytes], digest };
}
