import { createHash } from 'node:crypto';
import type { Machine } from '../../../host/machine.ts';
import { webProxyFor } from '../../../host/net/web-proxy.ts';
import { limits } from '../../../limits.ts';
import type { Response } from '../../../wire/exchange.ts';
import type { CrlfMessage } from '../in-crlf.ts';
import { ProviderClient } from '../provider/provider-client.ts';
import { AwsCredentials } from './aws-credentials.ts';
import { isOfClock, isOfKeys, sesError } from './ses-outcome.ts';
import type { SesAccount } from './ses-options.ts';
import { signAws, type AwsKeys } from './sign-aws.ts';

/** What is around the backend, besides its account. */
export interface SesSurroundings {
  /** Stands in for the null sender, which Amazon SES does not take. */
  defaultSender?: string | undefined;
  machine?: Machine;
  /** PEM of the certificate authorities to trust instead of Node's own. */
  ca?: string[];
  /** Says where the keys of a role are had; undefined: the environment of this process. */
  environment?: NodeJS.ProcessEnv;
}

/** The API of Amazon SES with our account. */
export class SesApi {
  readonly #account: SesAccount;
  readonly #machine: Machine;
  readonly #client: ProviderClient;
  readonly #credentials: AwsCredentials;
  /** What is before the path of each method; the empty string, but for an endpoint of one's own. */
  readonly #root: string;
  /** How far the clock of Amazon is ahead of ours, in milliseconds, where it has refused a signature for that. */
  #aheadMs = 0;

  constructor(
    account: SesAccount,
    machine: Machine,
    { ca, environment }: Pick<SesSurroundings, 'ca' | 'environment'> = {},
  ) {
    const { endpoint: url, keys } = account;
    this.#account = account;
    this.#machine = machine;
    this.#client = new ProviderClient(
      `Amazon SES at ${url.host}`,
      { url, webProxy: webProxyFor(url), ca },
      machine,
    );
    this.#credentials = new AwsCredentials(keys, machine, environment);
    this.#root = url.pathname.replace(/\/$/, '');
  }

  /** One message to at most 50 recipients. Each method rejects as ProviderClient.call does. */
  async sendEmail(
    sender: string,
    recipients: readonly string[],
    message: CrlfMessage,
  ): Promise<Response> {
    return this.#request('POST', 'outbound-emails', sendEmailBody(sender, recipients, message));
  }

  /** What our account may do. */
  async getAccount(): Promise<Response> {
    return this.#request('GET', 'account', NO_BODY, limits.providerCheckMs);
  }

  /** Asks once more when Amazon has refused keys that may be renewed, or our clock: then nothing was done. */
  async #request(
    method: 'GET' | 'POST',
    name: string,
    body: SesBody,
    answerMs?: number,
  ): Promise<Response> {
    const path = `${this.#root}/v2/email/${name}`;
    const call = { method, path, body: body.pieces, length: body.length, answerMs };
    const keys = await this.#credentials.keys();
    const response = await this.#client.call({ ...call, headers: this.#signed(call, body, keys) });
    if (response.status === 200 || !this.#corrected(response, keys)) return response;
    const headers = this.#signed(call, body, await this.#credentials.keys());
    return this.#client.call({ ...call, headers });
  }

  /** Corrects what a refusal was about. Returns whether there was anything to correct. */
  #corrected(response: Response, keys: AwsKeys): boolean {
    const error = sesError(response);
    if (isOfKeys(error)) return this.#credentials.forget(keys);
    const serverNow = Date.parse(String(response.headers['date']));
    if (!isOfClock(error) || Number.isNaN(serverNow)) return false;
    this.#aheadMs = serverNow - this.#machine.wallNow();
    return true;
  }

  /** The header fields of a request, with its signature. */
  #signed(
    { method, path }: { method: string; path: string },
    { digest }: SesBody,
    keys: AwsKeys,
  ): Record<string, string> {
    const { endpoint, region } = this.#account;
    const now = new Date(this.#machine.wallNow() + this.#aheadMs);
    const headers = {
      host: endpoint.host,
      'content-type': 'application/json',
      'x-amz-date': now.toISOString().replace(/[-:]|\.\d+/g, ''),
      ...(keys.sessionToken !== undefined && { 'x-amz-security-token': keys.sessionToken }),
    };
    const request = { method, path, headers: Object.entries(headers), bodyDigest: digest };
    return { ...headers, authorization: signAws(request, keys, { region, service: 'ses' }) };
  }
}

/** The body of a request, which is never in memory as a whole, with its SHA-256 in hexadecimal. */
interface SesBody {
  pieces: Iterable<Buffer>;
  length: number;
  digest: string;
}

function sendEmailBody(
  sender: string,
  recipients: readonly string[],
  message: CrlfMessage,
): SesBody {
  const json = JSON.stringify({
    FromEmailAddress: sender,
    Destination: { ToAddresses: recipients },
    Content: { Raw: { Data: '' } },
  });
  // The value of Data is what JSON.stringify has written last.
  const before = Buffer.from(json.slice(0, -END.length));
  const pieces = {
    *[Symbol.iterator]() {
      yield before;
      yield* inBase64(message);
      yield END;
    },
  };
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  const length = before.length + base64Length(message) + END.length;
  return { pieces, length, digest: hash.digest('hex') };
}

const NO_BODY: SesBody = {
  pieces: [],
  length: 0,
  digest: createHash('sha256').digest('hex'),
};
const END = Buffer.from('"}}}');

/** Pieces in base64, without padding between them: two bytes at most wait for the next piece. */
function* inBase64(given: Iterable<Buffer>): Generator<Buffer> {
  let rest = Buffer.alloc(0);
  for (const piece of given) {
    const bytes = Buffer.concat([rest, piece]);
    const whole = bytes.length - (bytes.length % 3);
    yield Buffer.from(bytes.toString('base64', 0, whole), 'latin1');
    rest = bytes.subarray(whole);
  }
  yield Buffer.from(rest.toString('base64'), 'latin1');
}

/** The size of a message in base64. */
export function base64Length({ length }: Pick<CrlfMessage, 'length'>): number {
  return Math.ceil(length / 3) * 4;
}
