import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { JmapAccount } from '../../src/proxy/backends/jmap/jmap-options.ts';
import { ScriptedProvider, type ProviderReply, type ProviderRequest } from './scripted-provider.ts';

/** A submission as it came. */
export interface JmapSubmitted {
  sender: string;
  recipients: string[];
  bytes: Buffer;
  identityId: string;
}

type Args = Record<string, unknown>;
type Invocation = [name: string, args: Args, callId: string];

/** What becomes of a submission: undefined, it is sent; or a SetError, or an error of the method. */
export type JmapVerdict = { type: string; [property: string]: unknown } | undefined;

/**
 * A JMAP server on loopback with one account: session, upload, and the methods that are needed to send, with the state that
 * RFC 8620 and RFC 8621 demand. It is no independent implementation: a real server may differ.
 */
export class ScriptedJmap {
  readonly server: ScriptedProvider;
  token = 'token-EXAMPLE';
  readonly #blobs = new Map<string, Buffer>();
  /** Emails in the mailbox. */
  readonly emails = new Map<string, Buffer>();
  readonly submitted: JmapSubmitted[] = [];
  readonly #submissions: { id: string; emailId: string }[] = [];
  identities = [
    { id: 'i1', email: 'other@example.org' },
    { id: 'i2', email: '*@example.org' },
    { id: 'i3', email: 'sender@example.org' },
  ];
  maxSizeUpload = 250_000_000;
  /** Whether it remembers submissions: a server may forget them at once (RFC 8621 7). */
  remembers = true;
  verdict: (submission: JmapSubmitted) => JmapVerdict = () => undefined;
  importError: JmapVerdict;
  /** The method that answers with an error of its own. */
  fails = '';
  /** Instead of the answer to a request with this method: after it was executed, or before. */
  after: Partial<Record<string, () => ProviderReply | undefined>> = {};
  before: Partial<Record<string, () => ProviderReply | undefined>> = {};
  /** What the last request would be answered. */
  lastAnswer: ProviderReply = 'cut';
  #made = 0;

  private constructor(server: ScriptedProvider) {
    this.server = server;
    server.script = (request) => this.#answer(request);
  }

  static async start(t: TestContext): Promise<ScriptedJmap> {
    return new ScriptedJmap(await ScriptedProvider.start(t));
  }

  get url(): URL {
    return new URL('jmap/session', this.server.url);
  }

  get account(): JmapAccount {
    return { url: this.url, authorization: `Bearer ${this.token}` };
  }

  /** What a proxy is started with to send there. */
  get options(): string[] {
    return ['--backend', 'jmap', '--jmap-url', String(this.url)];
  }

  get environment(): Record<string, string> {
    return { ...this.server.environment, JMAP_TOKEN: this.token };
  }

  #answer({ method, path, headers, body }: ProviderRequest): ProviderReply {
    const { authorization = '' } = headers;
    const basic = `Basic ${Buffer.from(`me@example.org:${this.token}`).toString('base64')}`;
    if (authorization !== `Bearer ${this.token}` && authorization !== basic) {
      return { status: 401, body: { type: 'about:blank', title: 'Unauthorized' } };
    }
    const request = `${method} ${path}`;
    if (request === 'GET /jmap/session') return { body: this.#session() };
    if (request === 'POST /jmap/upload/a%2F1/') {
      const early = this.before['upload']?.();
      if (early) return early;
      const blobId = this.#newId('B');
      this.#blobs.set(blobId, body);
      const { 'content-type': type } = headers;
      return { status: 201, body: { accountId: 'a/1', blobId, type, size: body.length } };
    }
    assert.equal(request, 'POST /jmap/api');
    const { using, methodCalls } = JSON.parse(body.toString()) as {
      using: string[];
      methodCalls: Invocation[];
    };
    assert.ok(using.includes('urn:ietf:params:jmap:submission'));
    for (const [name] of methodCalls) {
      const early = this.before[name]?.();
      if (early) return early;
    }
    const methodResponses = methodCalls.flatMap((call) => this.#invoke(call));
    this.lastAnswer = { body: { methodResponses, sessionState: 's1' } };
    for (const [name] of methodCalls) {
      const late = this.after[name]?.();
      if (late) return late;
    }
    return this.lastAnswer;
  }

  #session(): unknown {
    const [mail, submission] = ['urn:ietf:params:jmap:mail', 'urn:ietf:params:jmap:submission'];
    return {
      capabilities: {
        'urn:ietf:params:jmap:core': { maxSizeUpload: this.maxSizeUpload, maxConcurrentUpload: 4 },
        [mail]: {},
        [submission]: {},
      },
      accounts: { 'a/1': { name: 'me@example.org', isPersonal: true } },
      primaryAccounts: { [mail]: 'a/1', [submission]: 'a/1' },
      username: 'me@example.org',
      apiUrl: '/jmap/api',
      uploadUrl: `${this.server.url.href}jmap/upload/{accountId}/`,
      state: 's1',
    };
  }

  #invoke([name, args, callId]: Invocation): Invocation[] {
    assert.equal(args['accountId'], 'a/1');
    const answer = (result: Args): Invocation[] => [
      [name, { accountId: 'a/1', ...result }, callId],
    ];
    if (name === this.fails) return [['error', { type: 'serverFail' }, callId]];
    switch (name) {
      case 'Identity/get':
        return answer({ list: this.identities, notFound: [] });
      case 'Mailbox/get':
        return answer({
          list: [
            { id: 'm1', role: 'inbox' },
            { id: 'm2', role: 'drafts' },
          ],
          notFound: [],
        });
      case 'Email/import':
        return answer(this.#import(args['emails'] as Record<string, Args>));
      case 'Email/get': {
        const ids = args['ids'] as string[];
        const list = ids.filter((id) => this.emails.has(id)).map((id) => ({ id }));
        return answer({ list, notFound: ids.filter((id) => !this.emails.has(id)) });
      }
      case 'Email/set':
        return answer(this.#destroy(args['destroy'] as string[]));
      case 'EmailSubmission/query': {
        const { emailIds } = args['filter'] as { emailIds: string[] };
        const found = this.#submissions.filter(({ emailId }) => emailIds.includes(emailId));
        return answer({ ids: found.map(({ id }) => id) });
      }
      case 'EmailSubmission/set':
        return this.#submit(args, callId);
      default:
        return [['error', { type: 'unknownMethod' }, callId]];
    }
  }

  #import(emails: Record<string, Args>): Args {
    const [[name, { blobId, mailboxIds }] = ['', {}]] = Object.entries(emails);
    assert.deepEqual(mailboxIds, { m2: true });
    if (this.importError) return { created: null, notCreated: { [name]: this.importError } };
    const bytes = this.#blobs.get(String(blobId));
    if (!bytes) return { created: null, notCreated: { [name]: { type: 'blobNotFound' } } };
    // As Cyrus does.
    if (/(?<!\r)\n/.test(bytes.toString('latin1'))) {
      const description = 'Message contains bare newlines';
      return { created: null, notCreated: { [name]: { type: 'invalidEmail', description } } };
    }
    const id = this.#newId('E');
    this.emails.set(id, bytes);
    return {
      created: { [name]: { id, blobId, threadId: 'T', size: bytes.length } },
      notCreated: null,
    };
  }

  #destroy(ids: string[]): Args {
    const there = ids.filter((id) => this.emails.delete(id));
    const missing = ids.filter((id) => !there.includes(id));
    const notDestroyed = Object.fromEntries(missing.map((id) => [id, { type: 'notFound' }]));
    return { destroyed: there, notDestroyed };
  }

  #submit(args: Args, callId: string): Invocation[] {
    const [[name, submission] = ['', {}]] = Object.entries(args['create'] as Record<string, Args>);
    const { identityId, emailId, envelope } = submission as {
      identityId: string;
      emailId: string;
      envelope: { mailFrom: { email: string }; rcptTo: { email: string }[] };
    };
    const bytes = this.emails.get(emailId);
    assert.ok(bytes, 'the email that is submitted');
    const recipients = envelope.rcptTo.map(({ email }) => email);
    const came = { sender: envelope.mailFrom.email, recipients, bytes, identityId };
    const error = this.verdict(came);
    if (error?.['method']) return [['error', { type: error.type }, callId]];
    const respond = (result: Args): Invocation => {
      return ['EmailSubmission/set', { accountId: 'a/1', ...result }, callId];
    };
    if (error) return [respond({ created: null, notCreated: { [name]: error } })];
    this.submitted.push(came);
    const id = this.#newId('S');
    if (this.remembers) this.#submissions.push({ id, emailId });
    const answer = respond({ created: { [name]: { id, undoStatus: 'final' } }, notCreated: null });
    if (!(args['onSuccessDestroyEmail'] as string[] | undefined)?.includes(`#${name}`)) {
      return [answer];
    }
    return [answer, ['Email/set', { accountId: 'a/1', ...this.#destroy([emailId]) }, callId]];
  }

  #newId(kind: string): string {
    this.#made += 1;
    const digest = createHash('sha256').update(String(this.#made)).digest('hex');
    return `${kind}${digest.slice(0, 12)}`;
  }
}
