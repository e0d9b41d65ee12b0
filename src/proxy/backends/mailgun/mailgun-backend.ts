import { thisMachine, type Machine } from '../../../host/machine.ts';
import { webProxyFor } from '../../../host/net/web-proxy.ts';
import { pieces } from '../../../host/pieces.ts';
import { limits } from '../../../limits.ts';
import { canonicalAddress } from '../../../mail/canonical-address.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import { limited, type Backend } from '../backend.ts';
import { callResults } from '../provider/call-outcome.ts';
import { inBatches } from '../provider/in-batches.ts';
import { ProviderClient, type ProviderCall } from '../provider/provider-client.ts';
import type { MailgunAccount } from './mailgun-options.ts';
import { mailgunOutcome } from './mailgun-outcome.ts';

/**
 * Sends by Mailgun (messages.mime): the bytes as they are and the true recipients, 1,000 in one call. The envelope sender
 * is Mailgun's own. README.md in this folder has the facts.
 */
export function mailgunBackend(
  { domain, url, apiKey }: MailgunAccount,
  { machine = thisMachine, ca }: { machine?: Machine; ca?: string[] } = {},
): Backend {
  const route = { url, webProxy: webProxyFor(url), ca };
  const client = new ProviderClient(`Mailgun at ${url.host}`, route, machine);
  const path = `${url.pathname.replace(/\/$/, '')}/v3/${domain}/messages.mime`;
  const authorization = `Basic ${Buffer.from(`api:${apiKey}`).toString('base64')}`;

  async function send(recipients: readonly string[], bytes: Buffer) {
    const form = formOf(recipients, bytes, machine.randomBytes(24).toString('hex'));
    return mailgunOutcome(
      await client.call({
        ...form,
        method: 'POST',
        path,
        headers: { ...form.headers, authorization },
      }),
    );
  }

  return limited(limits.providerCalls, async ({ recipients, bytes }) => {
    if (bytes.length > limits.mailgunMessageBytes) {
      const reason = `the message is larger than ${limits.mailgunMessageBytes} bytes, which is all that Mailgun takes`;
      return recipients.map((recipient) => ({ recipient, status: statuses.tooLarge, reason }));
    }
    return inBatches(recipients, limits.mailgunRecipients, async (batch) =>
      callResults(batch, async (to) => send(to, bytes)),
    );
  });
}

/** A form in multipart/form-data (RFC 7578). Mailgun wants the message as a file. */
function formOf(
  recipients: readonly string[],
  bytes: Buffer,
  boundary: string,
): Pick<ProviderCall, 'body' | 'length'> & { headers: Record<string, string> } {
  const fields: [name: string, value: string][] = [
    ...recipients.map((recipient): [string, string] => ['to', canonicalAddress(recipient)]),
    ...UNCHANGED,
  ];
  const parts = fields.map(
    ([name, value]) =>
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const before = Buffer.from(
    `${parts.join('')}--${boundary}\r\n` +
      'Content-Disposition: form-data; name="message"; filename="message.eml"\r\n' +
      'Content-Type: message/rfc822\r\n\r\n',
  );
  const after = Buffer.from(`\r\n--${boundary}--\r\n`);
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    length: before.length + bytes.length + after.length,
    body: {
      *[Symbol.iterator]() {
        yield before;
        yield* pieces(bytes);
        yield after;
      },
    },
  };
}

/** Where tracking is on for a domain, Mailgun would rewrite links and add an image. */
const UNCHANGED: [name: string, value: string][] = [
  ['o:tracking', 'no'],
  ['o:tracking-clicks', 'no'],
  ['o:tracking-opens', 'no'],
];
