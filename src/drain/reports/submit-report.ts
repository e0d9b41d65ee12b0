import type { Machine } from '../../host/machine.ts';
import { pieces } from '../../host/pieces.ts';
import { SmtpClient, type SmtpSent } from '../../host/net/smtp-client.ts';
import { addressFault } from '../../mail/address-fault.ts';

/** A mail server of this host that takes reports. */
export interface MailServer {
  host: string;
  port: number;
}

/** How a report is submitted. */
interface SubmitOptions {
  server: MailServer;
  /** What we call ourselves in EHLO, as in SmtpClientOptions. */
  name: string | undefined;
  machine: Machine;
  /** Ends the submission at once. */
  signal: AbortSignal;
}

/**
 * What came of a submission. `taken`: the mail server has the report. `refused`: it refuses this report for good.
 * `deferred`: it does not take this report now. `unanswered`: it may have taken it. `unavailable`: it takes no report
 * at all now. `invalid`: it was not asked, because the address of the recipient is not valid.
 */
export interface Submission {
  kind: 'taken' | 'refused' | 'deferred' | 'unanswered' | 'unavailable' | 'invalid';
  text: string;
}

/**
 * Submits a report to the local mail server with the null sender (RFC 5321 4.5.5), so that nothing ever answers it. It
 * uses SMTP, because a setuid sendmail cannot run under NoNewPrivileges. Never rejects.
 */
export async function submitReport(
  to: string,
  bytes: Buffer,
  { server: { host, port }, name, machine, signal }: SubmitOptions,
): Promise<Submission> {
  const fault = addressFault(to);
  if (fault) return { kind: 'invalid', text: fault };
  let client: SmtpClient | undefined;
  const cut = () => client?.cut(new Error('drain is stopping'));
  signal.addEventListener('abort', cut);
  try {
    const socket = await machine.connect({ host, port }, signal);
    signal.throwIfAborted();
    client = new SmtpClient({ socket, host, security: 'none', name, clock: machine });
    await client.connect();
    const sent = await client.send({ from: '', to: [to], use8BitMime: true }, pieces(bytes));
    if (!client.destroyed) client.quit();
    return submissionOf(sent);
  } catch (error) {
    client?.close();
    return { kind: 'unavailable', text: (error as Error).message };
  } finally {
    signal.removeEventListener('abort', cut);
  }
}

/**
 * What a transaction means. All trouble that is not in REPLIES is of this report alone, even when the server hangs up or
 * does not answer: the next submission finds out whether the server is there.
 */
export function submissionOf({ ended, stage }: SmtpSent): Submission {
  if (!(ended instanceof Error)) {
    return { kind: stage === 'whole' ? 'taken' : 'unanswered', text: ended.response };
  }
  const { message: text, responseCode = 0, code, command = '' } = ended;
  const replied = REPLIES[command]?.[Math.floor(responseCode / 100)];
  if (replied) return { kind: replied, text };
  if (stage === 'whole') return { kind: 'unanswered', text };
  // The SMTP library found that this server cannot take such an address.
  const isUnfit = code === 'EENVELOPE' && responseCode === 0;
  return { kind: isUnfit ? 'refused' : 'deferred', text };
}

/** What a reply means, by the command that it answers and its first digit. The reply to the message answers DATA too. */
const REPLIES: Partial<Record<string, Partial<Record<number, Submission['kind']>>>> = {
  // A server that does not take the null sender takes no report.
  'MAIL FROM': { 4: 'unavailable', 5: 'unavailable' },
  'RCPT TO': { 4: 'deferred', 5: 'refused' },
  DATA: { 4: 'deferred', 5: 'refused' },
};
