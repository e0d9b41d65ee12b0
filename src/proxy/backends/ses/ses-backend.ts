import { createHash } from 'node:crypto';
import { isAscii } from 'node:buffer';
import { thisMachine, type Machine } from '../../../host/machine.ts';
import { webProxyFor } from '../../../host/net/web-proxy.ts';
import { limits } from '../../../limits.ts';
import { canonicalAddress } from '../../../mail/canonical-address.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import type { Response } from '../../../wire/exchange.ts';
import { limited, type Backend, type Delivery, type Result } from '../backend.ts';
import { callResults, type CallOutcome } from '../provider/call-outcome.ts';
import { inBatches } from '../provider/in-batches.ts';
import { ProviderClient } from '../provider/provider-client.ts';
import { AwsCredentials } from './aws-credentials.ts';
import { isOfClock, isOfKeys, sesError, sesOutcome } from './ses-outcome.ts';
import type { SesAccount } from './ses-options.ts';
import { signAws, type AwsKeys } from './sign-aws.ts';

/** What the ses backend needs besides its account. */
export interface SesSurroundings {
  /** Stands in for the null sender, which Amazon SES does not take. */
  defaultSender?: string | undefined;
  machine?: Machine;
  /** PEM of the certificate authorities to trust instead of Node's own. */
  ca?: string[];
}

/**
 * Sends by Amazon SES (API version 2, SendEmail with a raw message): the bytes as they are and the true recipients, 50 in
 * one call. README.md in this folder has the facts.
 */
export function sesBackend(account: SesAccount, surroundings: SesSurroundings = {}): Backend {
  const { machine = thisMachine, defaultSender } = surroundings;
  const ses = new Ses(account, surroundings, machine);

  async function deliver(delivery: Delivery): Promise<Result[]> {
    const { recipients, bytes } = delivery;
    const sender = sesAddress(delivery.sender === '' ? (defaultSender ?? '') : delivery.sender);
    const fault = faultOf(sender, bytes);
    if (fault) return recipients.map((recipient) => ({ recipient, ...fault }));
    const fit = recipients.filter((recipient) => sesAddress(recipient) !== undefined);
    const unfit = recipients.filter((recipient) => !fit.includes(recipient));
    const results = await inBatches(fit, limits.sesRecipients, async (batch) =>
      callResults(batch, async (to) => ses.send(sender ?? '', to, bytes)),
    );
    return [...results, ...unfit.map((recipient) => ({ recipient, ...NOT_ASCII }))];
  }

  return limited(limits.providerCalls, deliver);
}

/** Why no recipient can be sent a message, whatever Amazon SES would say. */
function faultOf(
  sender: string | undefined,
  bytes: Buffer,
): { status: string; reason: string } | undefined {
  if (sender === undefined) return { ...NOT_ASCII, reason: `sender: ${NOT_ASCII.reason}` };
  if (sender === '') return { status: statuses.senderRefused, reason: NULL_SENDER };
  if (base64Length(bytes) <= limits.sesBase64Bytes) return undefined;
  const reason = `in base64 the message is larger than ${limits.sesBase64Bytes} bytes, which is all that Amazon SES takes`;
  return { status: statuses.tooLarge, reason };
}

const NULL_SENDER =
  'Amazon SES takes no mail with the null sender, as reports have it, and there is no default sender that could stand in for it';
const NOT_ASCII = {
  status: statuses.noSmtpUtf8,
  reason: 'Amazon SES takes no address whose local part is not ASCII',
};

/** The address as Amazon SES takes it: the domain in Punycode; undefined for a local part that is not ASCII. */
function sesAddress(address: string): string | undefined {
  const ascii = canonicalAddress(address);
  return isAscii(Buffer.from(ascii)) ? ascii : undefined;
}

/** The API of Amazon SES with our account. */
class Ses {
  readonly #account: SesAccount;
  readonly #machine: Machine;
  readonly #client: ProviderClient;
  readonly #credentials: AwsCredentials;
  /** What is before the path of each method; the empty string, but for an endpoint of one's own. */
  readonly #root: string;
  /** How far the clock of Amazon is ahead of ours, in milliseconds, where it has refused a signature for that. */
  #aheadMs = 0;

  constructor(account: SesAccount, { ca }: SesSurroundings, machine: Machine) {
    const { endpoint: url, keys } = account;
    this.#account = account;
    this.#machine = machine;
    this.#client = new ProviderClient(
      `Amazon SES at ${url.host}`,
      { url, webProxy: webProxyFor(url), ca },
      machine,
    );
    this.#credentials = new AwsCredentials(keys, machine);
    this.#root = url.pathname.replace(/\/$/, '');
  }

  /** One message to at most 50 recipients. Rejects as ProviderClient.call does. */
  async send(sender: string, recipients: readonly string[], bytes: Buffer): Promise<CallOutcome> {
    const body = sendEmailBody(sender, recipients, bytes);
    const response = await this.#post(`${this.#root}/v2/email/outbound-emails`, body);
    return sesOutcome(response, recipients);
  }

  /** Posts once more when Amazon has refused keys that may be renewed, or our clock: then nothing was done. */
  async #post(path: string, body: SesBody): Promise<Response> {
    const keys = await this.#credentials.keys();
    const response = await this.#signed(path, body, keys);
    const mayPass = response.status !== 200 && this.#corrected(response, keys);
    return mayPass ? this.#signed(path, body, await this.#credentials.keys()) : response;
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

  async #signed(path: string, body: SesBody, keys: AwsKeys): Promise<Response> {
    const { endpoint, region } = this.#account;
    const now = new Date(this.#machine.wallNow() + this.#aheadMs);
    const headers = {
      host: endpoint.host,
      'content-type': 'application/json',
      'x-amz-date': now.toISOString().replace(/[-:]|\.\d+/g, ''),
      ...(keys.sessionToken !== undefined && { 'x-amz-security-token': keys.sessionToken }),
    };
    const request = {
      method: 'POST',
      path,
      headers: Object.entries(headers),
      bodyDigest: body.digest,
    };
    const authorization = signAws(request, keys, { region, service: 'ses' });
    return this.#client.call({
      method: 'POST',
      path,
      headers: { ...headers, authorization },
      body: body.pieces,
      length: body.length,
    });
  }
}

/** The body of a request, which is never in memory as a whole, with its SHA-256 in hexadecimal. */
interface SesBody {
  pieces: Iterable<Buffer>;
  length: number;
  digest: string;
}

function sendEmailBody(sender: string, recipients: readonly string[], bytes: Buffer): SesBody {
  const json = JSON.stringify({
    FromEmailAddress: sender,
    Destination: { ToAddresses: recipients.map(sesAddress) },
    Content: { Raw: { Data: '' } },
  });
  // The value of Data is what JSON.stringify has written last.
  const before = Buffer.from(json.slice(0, -END.length));
  const pieces = {
    *[Symbol.iterator]() {
      yield before;
      for (let at = 0; at < bytes.length; at += PIECE) {
        yield Buffer.from(bytes.toString('base64', at, at + PIECE), 'latin1');
      }
      yield END;
    },
  };
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  const length = before.length + base64Length(bytes) + END.length;
  return { pieces, length, digest: hash.digest('hex') };
}

const END = Buffer.from('"}}}');

/** Bytes that are made base64 at once: a multiple of three, so that the pieces have no padding between them. */
const PIECE = 48 * 1024;

function base64Length({ length }: Buffer): number {
  return Math.ceil(length / 3) * 4;
}
