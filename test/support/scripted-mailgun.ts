import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { MailgunAccount } from '../../src/proxy/backends/mailgun/mailgun-options.ts';
import { ScriptedProvider, type ProviderReply, type ProviderRequest } from './scripted-provider.ts';

/** A message as it came to Mailgun. */
export interface MailgunMessage {
  recipients: string[];
  bytes: Buffer;
  /** The other fields of the form. */
  options: Record<string, string>;
}

/** Mailgun on loopback: it takes forms apart, refuses addresses as a whole, and answers as the script says. */
export class ScriptedMailgun {
  readonly server: ScriptedProvider;
  apiKey = 'key-EXAMPLE';
  /** The messages that came with the key, whatever the answer. */
  readonly messages: MailgunMessage[] = [];
  /** Addresses that Mailgun finds invalid. */
  invalid: string[] = [];
  script: (message: MailgunMessage) => ProviderReply | Promise<ProviderReply> = () => QUEUED;

  private constructor(server: ScriptedProvider) {
    this.server = server;
    server.script = async (request) => this.#answer(request);
  }

  static async start(t: TestContext): Promise<ScriptedMailgun> {
    return new ScriptedMailgun(await ScriptedProvider.start(t));
  }

  get account(): MailgunAccount {
    return { domain: 'mail.example.org', url: this.server.url, apiKey: this.apiKey };
  }

  /** What a proxy is started with to send there. */
  get options(): string[] {
    const url = ['--mailgun-url', String(this.server.url)];
    return ['--backend', 'mailgun', '--mailgun-domain', 'mail.example.org', ...url];
  }

  get environment(): Record<string, string> {
    return { ...this.server.environment, MAILGUN_API_KEY: this.apiKey };
  }

  async #answer({ method, path, headers, body }: ProviderRequest): Promise<ProviderReply> {
    const expected = `Basic ${Buffer.from(`api:${this.apiKey}`).toString('base64')}`;
    if (headers.authorization !== expected) return { status: 401, body: 'Forbidden' };
    assert.equal(`${method} ${path}`, 'POST /v3/mail.example.org/messages.mime');
    const form = await new Response(new Uint8Array(body), {
      headers: { 'content-type': String(headers['content-type']) },
    }).formData();
    const file = form.get('message');
    if (!(file instanceof File)) return mailgunError(400, "'message' parameter is not a file");
    const fields = [...form].flatMap(([name, value]): [string, string][] =>
      typeof value === 'string' && name !== 'to' ? [[name, value]] : [],
    );
    const recipients = form.getAll('to').map(String);
    const bytes = Buffer.from(await file.arrayBuffer());
    if (recipients.some((recipient) => this.invalid.includes(recipient))) {
      return mailgunError(400, "'to' parameter is not a valid address. please check documentation");
    }
    const message = { recipients, bytes, options: Object.fromEntries(fields) };
    this.messages.push(message);
    return this.script(message);
  }
}

/** An answer of Mailgun that is an error. */
export function mailgunError(status: number, message: string): ProviderReply {
  return { status, body: { message } };
}

export const QUEUED: ProviderReply = {
  body: { id: '<20261128.1@mail.example.org>', message: 'Queued. Thank you.' },
};
