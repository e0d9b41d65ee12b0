import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { SesAccount } from '../../src/proxy/backends/ses/ses-options.ts';
import { signAws, type AwsKeys } from '../../src/proxy/backends/ses/sign-aws.ts';
import { ScriptedProvider, type ProviderReply, type ProviderRequest } from './scripted-provider.ts';

/** An email as it came to Amazon SES. */
export interface SesEmail {
  sender: string;
  recipients: string[];
  bytes: Buffer;
}

/** Amazon SES on loopback: it checks each signature, and answers as the script says. */
export class ScriptedSes {
  readonly server: ScriptedProvider;
  readonly region = 'eu-west-1';
  /** The keys that it knows. */
  keys: AwsKeys = { keyId: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
  /** The emails of calls with a good signature, whatever the answer. */
  readonly emails: SesEmail[] = [];
  /** The answer to GetAccount. */
  permission: ProviderReply = { body: { SendingEnabled: true, ProductionAccessEnabled: true } };
  script: (email: SesEmail) => ProviderReply | Promise<ProviderReply> = () => TAKEN;

  private constructor(server: ScriptedProvider) {
    this.server = server;
    server.script = async (request) => this.#answer(request);
  }

  static async start(t: TestContext): Promise<ScriptedSes> {
    return new ScriptedSes(await ScriptedProvider.start(t));
  }

  /** An account there. */
  get account(): SesAccount {
    return { region: this.region, endpoint: this.server.url, keys: this.keys };
  }

  /** What a proxy is started with to send there. */
  get options(): string[] {
    const endpoint = ['--ses-endpoint', String(this.server.url)];
    return ['--backend', 'ses', '--ses-region', this.region, ...endpoint];
  }

  get environment(): Record<string, string> {
    const { keyId, secret } = this.keys;
    return {
      ...this.server.environment,
      AWS_ACCESS_KEY_ID: keyId,
      AWS_SECRET_ACCESS_KEY: secret,
    };
  }

  async #answer(request: ProviderRequest): Promise<ProviderReply> {
    const refusal = this.#refusal(request);
    if (refusal) return refusal;
    const { method, path, body } = request;
    if (`${method} ${path}` === 'GET /v2/email/account') return this.permission;
    assert.equal(`${method} ${path}`, 'POST /v2/email/outbound-emails');
    const {
      FromEmailAddress: sender,
      Destination,
      Content,
    } = JSON.parse(body.toString()) as {
      FromEmailAddress: string;
      Destination: { ToAddresses: string[] };
      Content: { Raw: { Data: string } };
    };
    const bytes = Buffer.from(Content.Raw.Data, 'base64');
    const email = { sender, recipients: Destination.ToAddresses, bytes };
    this.emails.push(email);
    return this.script(email);
  }

  /** The answer to a request with a wrong signature. */
  #refusal({ method, path, headers, body }: ProviderRequest): ProviderReply | undefined {
    const authorization = String(headers.authorization);
    const signedHeaders = /SignedHeaders=([^,]+)/.exec(authorization)?.[1] ?? '';
    const expected = signAws(
      {
        method,
        path,
        headers: signedHeaders.split(';').map((name) => [name, String(headers[name])]),
        bodyDigest: createHash('sha256').update(body).digest('hex'),
      },
      this.keys,
      { region: this.region, service: 'ses' },
    );
    if (headers['x-amz-security-token'] !== this.keys.sessionToken) {
      return sesError(403, 'ExpiredTokenException', 'The security token is expired');
    }
    if (!authorization.includes(`Credential=${this.keys.keyId}/`)) {
      return sesError(403, 'UnrecognizedClientException', 'The security token is invalid.');
    }
    if (authorization === expected) return undefined;
    return sesError(403, 'InvalidSignatureException', 'The signature does not match.');
  }
}

/** An answer of Amazon SES that is an error. */
export function sesError(status: number, type: string, message: string): ProviderReply {
  return { status, headers: { 'x-amzn-errortype': `${type}:` }, body: { message } };
}

export const TAKEN: ProviderReply = { body: { MessageId: '0102018e-EXAMPLE-000000' } };
