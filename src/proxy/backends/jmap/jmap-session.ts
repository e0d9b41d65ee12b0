import { limits } from '../../../limits.ts';
import { canonicalAddress } from '../../../mail/canonical-address.ts';
import { BackendUnavailableError } from '../backend.ts';
import { isProviderUrl } from '../provider/provider-url.ts';
import { nothingSent, type JmapServer } from './jmap-server.ts';

/** What is needed of a session (RFC 8620 2) and of its account to send mail. */
export interface JmapSession {
  apiUrl: URL;
  uploadUrl: URL;
  accountId: string;
  /** The largest upload, in bytes. */
  uploadBytes: number;
  /** Where a message is while it is sent. */
  mailboxId: string;
  identities: JmapIdentity[];
}

/** An address from which the account may send, or `*@domain` (RFC 8621 6). */
export interface JmapIdentity {
  id: string;
  email: string;
}

/** The session of an account, read again after limits.jmapSessionMs, and after `forget`. */
export class JmapSessions {
  readonly #server: JmapServer;
  readonly #url: URL;
  #session: Promise<JmapSession> | undefined;
  #readAt = -Infinity;

  constructor(server: JmapServer, url: URL) {
    this.#server = server;
    this.#url = url;
  }

  /** Rejects with BackendUnavailableError. */
  async get(): Promise<JmapSession> {
    const now = this.#server.machine.now();
    if (this.#session && now < this.#readAt + limits.jmapSessionMs) return this.#session;
    this.#readAt = now;
    const session = readJmapSession(this.#server, this.#url);
    this.#session = session;
    session.catch(() => this.forget(session));
    return session;
  }

  /** The next delivery reads the session again, unless that was done meanwhile. */
  forget(session = this.#session): void {
    if (this.#session === session) this.#session = undefined;
  }
}

/** Reads the session of an account, its identities and mailboxes. Rejects with BackendUnavailableError. */
export async function readJmapSession(server: JmapServer, url: URL): Promise<JmapSession> {
  const json = await server.readSession();
  const accountId = accountOf(json);
  const core = membersOf(membersOf(json['capabilities'])['urn:ietf:params:jmap:core']);
  const { maxSizeUpload } = core;
  const apiUrl = urlOf(json['apiUrl'], url);
  const template = String(json['uploadUrl']).replace('{accountId}', encodeURIComponent(accountId));
  const uploadUrl = urlOf(template, url);
  const responses = await nothingSent(
    server.request(apiUrl, [
      ['Identity/get', { accountId, ids: null }, 'identities'],
      ['Mailbox/get', { accountId, ids: null, properties: ['id', 'role'] }, 'mailboxes'],
    ]),
  );
  const listOf = (callId: string) => {
    const response = responses.get(callId);
    const list = response?.error === undefined ? response?.result['list'] : undefined;
    if (Array.isArray(list) && list.length > 0) return list.map(membersOf);
    const why = response?.error === undefined ? 'there are none' : response.error;
    throw unusable(`the account has no ${callId} for us: ${why}`);
  };
  const identities = listOf('identities').map(({ id, email }) => {
    return { id: String(id), email: String(email) };
  });
  return {
    apiUrl,
    uploadUrl,
    accountId,
    uploadBytes: typeof maxSizeUpload === 'number' ? maxSizeUpload : limits.messageBytes,
    mailboxId: mailboxOf(listOf('mailboxes')),
    identities,
  };
}

/** The identity for a sender: its own, or that of its domain, or else the first, and the server decides. */
export function identityFor(sender: string, identities: readonly JmapIdentity[]): string {
  const address = canonicalAddress(sender).toLowerCase();
  const domain = `*${address.slice(address.lastIndexOf('@'))}`;
  const named = (wanted: string) =>
    identities.find(({ email }) => canonicalAddress(email).toLowerCase() === wanted);
  return (named(address) ?? named(domain) ?? identities[0])?.id ?? '';
}

/** The account for both mail and submission. */
function accountOf(json: Record<string, unknown>): string {
  const primary = membersOf(json['primaryAccounts']);
  const submission = primary['urn:ietf:params:jmap:submission'];
  if (typeof submission !== 'string') {
    throw unusable('the account may not send mail (urn:ietf:params:jmap:submission)');
  }
  return submission;
}

/** Where a key may be sent to: the server has named it over TLS. */
function urlOf(text: unknown, session: URL): URL {
  const url = typeof text === 'string' ? URL.parse(text, session.href) : null;
  if (url && isProviderUrl(url)) return url;
  throw unusable('the session names no https: URL for requests and uploads');
}

function mailboxOf(mailboxes: readonly Record<string, unknown>[]): string {
  const roles = ['drafts', 'sent', 'inbox'];
  const [best] = roles.flatMap((role) => mailboxes.filter((each) => each['role'] === role));
  return String((best ?? mailboxes[0])?.['id']);
}

function unusable(text: string): BackendUnavailableError {
  return new BackendUnavailableError(`the JMAP server: ${text}`, limits.providerRefusedMs);
}

/** The members of a value of JSON; none where it is no object. */
function membersOf(value: unknown): Record<string, unknown> {
  return Object(value ?? {}) as Record<string, unknown>;
}
