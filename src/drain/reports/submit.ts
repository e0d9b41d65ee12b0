import { connectSocket } from '../../host/net/connect-socket.ts';
import { pieces } from '../../host/pieces.ts';
import { SmtpClient, type SmtpSent } from '../../host/net/smtp-client.ts';
import { addressFault } from '../../mail/address-fault.ts';

/** A mail server of this host that takes notices. */
export interface MailServer {
  host: string;
  port: number;
}

/**
 * What came of a hand-over: the mail server has the notice; it refuses this one for good, or has not taken
 * it for now; it may have taken it (`unanswered`); or no notice can be handed over at all. It was not asked
 * where the address is `invalid`.
 */
export interface Submission {
  kind: 'taken' | 'refused' | 'deferred' | 'unanswered' | 'unavailable' | 'invalid';
  text: string;
}

/**
 * Hands a notice to the local mail server with the null sender (RFC 5321 4.5.5), so that nothing ever answers it. It
 * uses SMTP, because a setuid sendmail cannot run under NoNewPrivileges. `name` is what we call ourselves
 * (SmtpClientOptions). `giveUp` ends it at once. Never rejects.
 */
export async function submit(
  { host, port }: MailServer,
  name: string | undefined,
  to: string,
  bytes: Buffer,
  giveUp: AbortSignal,
): Promise<Submission> {
  const fault = addressFault(to);
  if (fault) return { kind: 'invalid', text: fault };
  let client: SmtpClient | undefined;
  const cut = () => client?.cut(new Error('drain is stopping'));
  giveUp.addEventListener('abort', cut);
  try {
    const socket = await connectSocket({ host, port }, giveUp);
    giveUp.throwIfAborted();
    client = new SmtpClient({ socket, host, security: 'none', name });
    await client.connect();
    const sent = await client.send({ from: '', to: [to], use8BitMime: true }, pieces(bytes));
    if (!client.destroyed) client.quit();
    return submissionOf(sent);
  } catch (error) {
    client?.close();
    return { kind: 'unavailable', text: (error as Error).message };
  } finally {
    giveUp.removeEventListener('abort', cut);
  }
}

/**
 * What a transaction means. A server that refuses the null sender takes no notice at all. All other trouble
 * is of this notice alone, even when the server hangs up or does not answer: a later hand-over finds out
 * whether the server is there.
 */
export function submissionOf({ ended, stage }: SmtpSent): Submission {
  if (!(ended instanceof Error)) {
    return { kind: stage === 'whole' ? 'taken' : 'unanswered', text: ended.response };
  }
  const { message: text, responseCode = 0, code, command = '' } = ended;
  const isRefusal = responseCode >= 400;
  if (isRefusal && command === 'MAIL FROM') return { kind: 'unavailable', text };
  if (isRefusal && /^(?:RCPT TO|DATA)$/.test(command)) {
    return { kind: responseCode < 500 ? 'deferred' : 'refused', text };
  }
  if (stage === 'whole') return { kind: 'unanswered', text };
  // The library sees that this server cannot take such an address.
  const isUnfit = code === 'EENVELOPE' && responseCode === 0;
  return { kind: isUnfit ? 'refused' : 'deferred', text };
}
