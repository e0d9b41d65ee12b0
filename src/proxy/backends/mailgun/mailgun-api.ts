import type { Machine } from '../../../host/machine.ts';
import { webProxyFor } from '../../../host/net/web-proxy.ts';
import { limits } from '../../../limits.ts';
import type { Response } from '../../../wire/exchange.ts';
import type { CrlfMessage } from '../in-crlf.ts';
import { ProviderClient, type ProviderCall } from '../provider/provider-client.ts';
import type { MailgunAccount } from './mailgun-options.ts';

/** The API of Mailgun with our account. Each method rejects as ProviderClient.call does. */
export class MailgunApi {
  readonly #client: ProviderClient;
  readonly #machine: Machine;
  readonly #path: string;
  readonly #authorization: string;

  constructor({ domain, url, apiKey }: MailgunAccount, machine: Machine, ca?: string[]) {
    const route = { url, webProxy: webProxyFor(url), ca };
    this.#client = new ProviderClient(`Mailgun at ${url.host}`, route, machine);
    this.#machine = machine;
    this.#path = `${url.pathname.replace(/\/$/, '')}/v3/${domain}/messages.mime`;
    this.#authorization = `Basic ${Buffer.from(`api:${apiKey}`).toString('base64')}`;
  }

  /** One message to at most 1,000 recipients. */
  async send(recipients: readonly string[], message: CrlfMessage): Promise<Response> {
    const to = recipients.map((recipient): Field => ['to', recipient]);
    return this.#post(this.#form([...to, ...UNCHANGED], message));
  }

  /** A message to nobody, without any bytes: Mailgun refuses it with a 400 when it takes our key, and sends nothing. */
  async probe(): Promise<Response> {
    return this.#post({ ...this.#form([['o:testmode', 'yes']]), answerMs: limits.providerCheckMs });
  }

  async #post(form: Omit<ProviderCall, 'method'>): Promise<Response> {
    const headers = { ...form.headers, authorization: this.#authorization };
    return this.#client.call({ ...form, method: 'POST', path: this.#path, headers });
  }

  /** A form in multipart/form-data (RFC 7578). Mailgun wants the message as a file. */
  #form(fields: readonly Field[], message?: CrlfMessage): Omit<ProviderCall, 'method'> {
    const boundary = this.#machine.randomBytes(24).toString('hex');
    const parts = fields.map(
      ([name, value]) =>
        `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
    );
    const before = Buffer.from(parts.join('') + (message ? `--${boundary}${FILE}` : ''));
    const after = Buffer.from(`${message ? '\r\n' : ''}--${boundary}--\r\n`);
    return {
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      length: before.length + (message?.length ?? 0) + after.length,
      body: {
        *[Symbol.iterator]() {
          yield before;
          if (message) yield* message;
          yield after;
        },
      },
    };
  }
}

type Field = [name: string, value: string];

/** Where tracking is on for a domain, Mailgun would rewrite links and add an image. */
const UNCHANGED: Field[] = [
  ['o:tracking', 'no'],
  ['o:tracking-clicks', 'no'],
  ['o:tracking-opens', 'no'],
];

const FILE =
  '\r\nContent-Disposition: form-data; name="message"; filename="message.eml"\r\n' +
  'Content-Type: message/rfc822\r\n\r\n';
