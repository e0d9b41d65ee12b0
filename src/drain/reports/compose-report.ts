import { createHash } from 'node:crypto';
import type { MachineNames } from '../../host/machine-names.ts';
import { limits } from '../../limits.ts';
import { deliveryReport, summaryReport } from '../../mail/delivery-report.ts';
import { headerSize } from '../../mail/headers.ts';
import { readBody } from '../../spool/body.ts';
import { outageMs } from '../../spool/endpoint.ts';
import { expiresAt, lifetimeMs } from '../../spool/lifetime.ts';
import type { PendingReport, ReportedMail } from '../../spool/report.ts';
import type { Spool } from '../../spool/spool.ts';

/**
 * The report as a message: about one message, or a summary about several. The same report has the same Message-ID each
 * time. `now` is observed time.
 */
export function composeReport(
  spool: Spool,
  { sender, batched }: PendingReport,
  mail: readonly ReportedMail[],
  { names, now }: { names: MachineNames; now: number },
): Buffer {
  const content = JSON.stringify([sender, batched, mail]);
  const name = createHash('sha256').update(content).digest('hex').slice(0, 32);
  const wallNow = spool.clock.wallNow();
  const reporter = { host: names.host ?? names.mail, domain: names.mail, now: wallNow, name };
  const [message] = mail;
  if (batched || !message) return summaryReport(sender, mail, reporter);
  const livesMs = expiresAt(message, outageMs(spool, now), lifetimeMs(spool)) - now;
  const original = originalOf(spool, message);
  const report = { ...message, to: sender, triedUntil: wallNow + livesMs, original };
  return deliveryReport(report, reporter);
}

/** The header section of a message, as far as a report returns it; undefined when it is gone or damaged. */
export function headerOf(spool: Spool, { seq, size }: ReportedMail): Buffer | undefined {
  const part = tryRead(() => {
    const [first] = readBody(spool, seq, size);
    return first;
  });
  return part?.subarray(0, Math.min(headerSize(part), limits.returnedHeaderBytes));
}

/** A small message is returned whole, of a large one the header section. */
function originalOf(
  spool: Spool,
  message: ReportedMail,
): { bytes: Buffer; whole: boolean } | undefined {
  const { seq, size } = message;
  const parts =
    size <= limits.returnedBytes ? tryRead(() => [...readBody(spool, seq, size)]) : undefined;
  if (parts) return { bytes: Buffer.concat(parts), whole: true };
  const header = headerOf(spool, message);
  return header && { bytes: header, whole: false };
}

/** What can be read of a message's bytes: a report without them is better than none (law 5). */
function tryRead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined; // Gone, or damaged: drain reports damage when it posts the message.
  }
}
