import type { SMTPError } from 'nodemailer/lib/smtp-connection';
import { SmtpConnection } from '../host/smtp-connection.ts';
import { smtpStep } from '../host/smtp-step.ts';
import { addressFault } from '../mail/address-fault.ts';
import { limits } from '../mail/limits.ts';

/** A mail server of this host that takes notices. */
export interface MailServer {
  host: string;
  port: number;
}

/**
 * What the mail server said: it has the notice; it refuses this one for good, or for now; or no notice
 * can be handed over at all.
 */
export interface Submission {
  kind: 'taken' | 'refused' | 'deferred' | 'unavailable';
  text: string;
}

/**
 * Hands a notice to the local mail server by SMTP, with the null sender (RFC 5321 4.5.5), so that nothing
 * ever answers it. SMTP, because a setuid sendmail cannot run under NoNewPrivileges. Never rejects.
 */
export async function submit(
  { host, port }: MailServer,
  to: string,
  bytes: Buffer,
  giveUp: AbortSignal,
): Promise<Submission> {
  const fault = addressFault(to);
  if (fault) return { kind: 'refused', text: fault };
  const connection = new SmtpConnection({
    host,
    port,
    ignoreTLS: true,
    connectionTimeout: limits.connectMs,
    greetingTimeout: limits.noticeSmtpMs,
    socketTimeout: limits.noticeSmtpMs,
    maxResponseSize: limits.smtpReplyBytes,
  });
  connection.on('error', () => {}); // The step that it breaks tells of it.
  try {
    await smtpStep<void>(connection, (done) => connection.connect(done), giveUp);
    const envelope = { from: '', to: [to], use8BitMime: true };
    const { response } = await smtpStep<{ response: string }>(
      connection,
      (done) => connection.send(envelope, bytes, done),
      giveUp,
    );
    connection.quit();
    return { kind: 'taken', text: response };
  } catch (error) {
    connection.close();
    return refusal(error as SMTPError);
  }
}

/** Only an answer to its recipient or to its bytes is about this notice: a server that refuses the null sender takes none. */
function refusal({ message, responseCode = 0, command = '' }: SMTPError): Submission {
  const own = /^(?:RCPT TO|DATA)$/.test(command);
  const kind =
    !own || responseCode < 400 || responseCode === 421
      ? 'unavailable'
      : responseCode < 500
        ? 'deferred'
        : 'refused';
  return { kind, text: message };
}
