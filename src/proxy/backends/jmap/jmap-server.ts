import type { Machine } from '../../../host/machine.ts';
import { webProxyFor } from '../../../host/net/web-proxy.ts';
import { limits } from '../../../limits.ts';
import type { Response } from '../../../wire/exchange.ts';
import { BackendThrottledError, BackendUnavailableError } from '../backend.ts';
import type { CrlfMessage } from '../in-crlf.ts';
import { jsonOf } from '../provider/json-of.ts';
import { ProviderClient } from '../provider/provider-client.ts';
import { providerRetryMs } from '../provider/provider-retry-ms.ts';
import type { JmapAccount } from './jmap-options.ts';

/** A method of JMAP with its arguments, and the name by which its response is found. */
export type MethodCall = [method: string, arguments_: Record<string, unknown>, callId: string];

/** The response to a method: its result, or the type of its error (RFC 8620 3.6.2). */
export type MethodResponse =
  { result: Record<string, unknown>; error?: undefined } | { error: string; text: string };

/** A JMAP server over HTTPS, with our account. */
export class JmapServer {
  readonly machine: Machine;
  readonly #account: JmapAccount;
  readonly #ca: string[] | undefined;
  /** One for each origin: that of the session, and those that it names. */
  readonly #clients = new Map<string, ProviderClient>();

  constructor(account: JmapAccount, machine: Machine, ca?: string[]) {
    this.#account = account;
    this.machine = machine;
    this.#ca = ca;
  }

  /** Reads the session resource. Rejects with BackendUnavailableError. */
  async readSession(): Promise<Record<string, unknown>> {
    const { url } = this.#account;
    const response = await nothingSent(
      this.#clientOf(url).call({
        method: 'GET',
        path: url.pathname + url.search,
        headers: this.#headers('application/json'),
        answerMs: limits.providerCheckMs,
      }),
    );
    if (response.status === 200) return jsonOf(response.body);
    throw this.refusal(response, 'the session');
  }

  /** Uploads a message. Returns the answer, whatever its status. Rejects with BackendUnavailableError: an upload alone sends nothing. */
  async upload(url: URL, message: CrlfMessage): Promise<Response> {
    return nothingSent(
      this.#clientOf(url).call({
        method: 'POST',
        path: url.pathname + url.search,
        headers: this.#headers('message/rfc822'),
        body: message,
        length: message.length,
      }),
    );
  }

  /**
   * Calls methods in one request, and returns the response to each by its name. Rejects with BackendUnavailableError
   * when none was called, and with another error when they may have been.
   */
  async request(
    url: URL,
    methodCalls: readonly MethodCall[],
  ): Promise<Map<string, MethodResponse>> {
    const body = Buffer.from(JSON.stringify({ using: USING, methodCalls }));
    const response = await this.#clientOf(url).call({
      method: 'POST',
      path: url.pathname + url.search,
      headers: this.#headers('application/json'),
      body: [body],
      length: body.length,
    });
    const { status } = response;
    if (status >= 300 && status < 500) throw this.refusal(response, 'a request');
    const { methodResponses } = jsonOf(response.body);
    if (status === 200 && Array.isArray(methodResponses)) return byCallId(methodResponses);
    throw new Error(`${this.#called(url)} answered ${status} to a request`);
  }

  /** What an answer that is no success means: the server takes nothing from us at present. */
  refusal(response: Response, what: string): BackendUnavailableError {
    const { status, headers, body } = response;
    const { type, detail, title } = jsonOf(body);
    const said = [type, detail ?? title].filter((each) => typeof each === 'string').join(': ');
    const to = typeof headers['location'] === 'string' ? ` to ${headers['location']}` : '';
    const remedy = status === 401 || status === 403 ? CREDENTIALS : to && REDIRECTED;
    const text = `${this.#called(this.#account.url)} answered ${status}${to} to ${what}`;
    const sentences = [text + (said && ` (${said.slice(0, limits.quotedChars)})`), remedy];
    const reason = sentences.filter((each) => each !== '').join('; ');
    const usualMs = status < 500 ? limits.providerRefusedMs : limits.providerSlowerMs;
    const retryMs = (ms: number) => providerRetryMs(response, ms, this.machine);
    if (status !== 429) return new BackendUnavailableError(reason, retryMs(usualMs));
    return new BackendThrottledError(reason, retryMs(limits.providerSlowerMs));
  }

  #headers(type: string): Record<string, string> {
    const { authorization } = this.#account;
    return { authorization, accept: 'application/json', 'content-type': type };
  }

  #called({ host }: URL): string {
    return `the JMAP server ${host}`;
  }

  #clientOf(url: URL): ProviderClient {
    const known = this.#clients.get(url.origin);
    if (known) return known;
    const route = { url: new URL(url.origin), webProxy: webProxyFor(url), ca: this.#ca };
    const client = new ProviderClient(this.#called(url), route, this.machine);
    this.#clients.set(url.origin, client);
    return client;
  }
}

/** A call that sends no mail, whatever becomes of it: it rejects with BackendUnavailableError alone. */
export async function nothingSent<T>(call: Promise<T>): Promise<T> {
  return call.catch((error: Error) => {
    throw error instanceof BackendUnavailableError
      ? error
      : new BackendUnavailableError(error.message);
  });
}

const USING = [
  'urn:ietf:params:jmap:core',
  'urn:ietf:params:jmap:mail',
  'urn:ietf:params:jmap:submission',
];
const CREDENTIALS = 'see whether JMAP_TOKEN, or --jmap-user and JMAP_PASSWORD, are right';
const REDIRECTED = 'no redirect is followed: set --jmap-url to the session resource itself';

/** Of several responses to one call, which a method may have, the first counts. */
function byCallId(responses: readonly unknown[]): Map<string, MethodResponse> {
  const found = new Map<string, MethodResponse>();
  for (const response of responses) {
    const [name, args, callId] = Array.isArray(response) ? (response as unknown[]) : [];
    if (typeof callId !== 'string' || found.has(callId)) continue;
    const result = Object(args) as Record<string, unknown>;
    if (name !== 'error') found.set(callId, { result });
    else {
      const { type, description } = result;
      const error = typeof type === 'string' ? type : 'error';
      found.set(callId, { error, text: typeof description === 'string' ? description : '' });
    }
  }
  return found;
}
