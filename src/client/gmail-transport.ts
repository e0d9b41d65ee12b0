import { callbackify } from 'node:util';
import type { MailMessage, SentMessageInfo, Transport } from 'nodemailer';
import { version } from '../host/version.ts';
import { GmailProxy, type GmailProxyOptions } from './gmail-proxy.ts';
import { prepare, recipientsIn } from './prepare.ts';

export interface GmailOptions extends Omit<GmailProxyOptions, 'failSilently'> {
  /** Else the setting GMAIL_SECRET_KEY. */
  secretKey?: string | Uint8Array | undefined;
  /** Several are separated by spaces; else the setting GMAIL_PROXY_URL. */
  proxyUrl?: string | URL | undefined;
}

/**
 * A transport for `nodemailer.createTransport`. A message is sent to everybody, or fails with a
 * MessageSendingFailure. Throws an Error when the proxy is not configured.
 */
export function gmail({ secretKey, proxyUrl, ...options }: GmailOptions = {}): Transport {
  const proxy = new GmailProxy(secretKey, proxyUrl, options);
  return {
    name: 'appengine-mailer',
    version: version(),
    send: callbackify(async (mail: MailMessage) => send(proxy, mail, options.fixSender)),
    verify(callback?: (error: Error | null, success: true) => void) {
      return callback ? callbackify(async () => proxy.verify())(callback) : proxy.verify();
    },
    close() {
      void proxy.close();
    },
  };
}

async function send(
  proxy: GmailProxy,
  { message, data }: MailMessage,
  fixSender?: boolean,
): Promise<SentMessageInfo> {
  const { from, to } = message.getEnvelope();
  const recipients = data.envelope ? to : [...to, ...bareNames(data)];
  const given = {
    // An empty `from` of an envelope is the null sender; without an envelope the sender is the one in From.
    ...(data.envelope && { sender: from || '' }),
    // A raw message has them in its headers.
    ...(recipients.length > 0 && { recipients }),
  };
  const { envelope, bytes } = prepare(await message.build(), given, fixSender);
  await proxy.sendMail(bytes, envelope);
  return {
    envelope: { from: envelope.sender, to: envelope.recipients },
    messageId: message.messageId(),
    accepted: envelope.recipients,
    rejected: [],
    response: 'sent',
  };
}

/** Recipients without an @, such as `root`, which nodemailer would leave out silently. */
function bareNames({ to, cc, bcc }: MailMessage['data']): string[] {
  const given = [to, cc, bcc].flat().filter((each) => typeof each === 'string');
  return recipientsIn(given).filter((address) => !address.includes('@'));
}
