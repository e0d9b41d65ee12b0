import { sleep } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import { canonicalAddress } from '../../../mail/canonical-address.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import { BackendUnavailableError, type Delivery, type Result } from '../backend.ts';
import { callResults, type CallOutcome } from '../provider/call-outcome.ts';
import { batchesOf, inBatches } from '../provider/in-batches.ts';
import { jmapOutcome, mayBeOfSome, type JmapError } from './jmap-outcome.ts';
import {
  nothingSent,
  type JmapServer,
  type MethodCall,
  type MethodResponse,
} from './jmap-server.ts';
import { identityFor, type JmapSession } from './jmap-session.ts';

/** An email in a mailbox of the account. */
interface Email {
  id: string;
  /** It was made for this submission, and goes with it. */
  isOurs: boolean;
}

/** A message whose bytes are uploaded. */
interface Uploaded extends Pick<Delivery, 'sender'> {
  blobId: string;
  /** Stands in for the null sender, where the server does not take it. */
  defaultSender: string | undefined;
}

/** The submission of one message. */
export class JmapSubmission {
  readonly #server: JmapServer;
  readonly #session: JmapSession;
  readonly #message: Uploaded;
  /** How many submissions were refused since one was taken. */
  #refusals = 0;

  constructor(server: JmapServer, session: JmapSession, message: Uploaded) {
    this.#server = server;
    this.#session = session;
    this.#message = message;
  }

  /** Sends to these recipients, in several submissions where the server wants that. Rejects as Deliver does. */
  async submit(recipients: readonly string[]): Promise<Result[]> {
    const imported = await this.#import();
    if ('kind' in imported) return this.#results(imported, recipients);
    const { outcome, error } = await this.#send(imported, recipients);
    const { sender, defaultSender } = this.#message;
    if (error?.type === 'forbiddenMailFrom' && sender === '' && defaultSender !== undefined) {
      const message = { ...this.#message, sender: defaultSender };
      return new JmapSubmission(this.#server, this.#session, message).submit(recipients);
    }
    if (error) return this.#withFewer(error, outcome, recipients);
    return this.#results(outcome, recipients);
  }

  /**
   * Submits again to fewer recipients at once, where a refusal may be of some of them. Those that it names are tried alone:
   * Cyrus names one that is refused for now along with one that is refused for good.
   */
  async #withFewer(
    error: JmapError,
    outcome: CallOutcome,
    recipients: readonly string[],
  ): Promise<Result[]> {
    const named = namedIn(error, recipients);
    if (recipients.length === 1) {
      const { reason } = outcome;
      const refused: CallOutcome = { kind: 'refused', status: statuses.badRecipient, reason };
      return this.#results(named.length === 1 ? refused : outcome, recipients);
    }
    const batches = this.#batches(error, recipients, named);
    if (!batches) return this.#results(outcome, recipients);
    return inBatches(batches, async (batch) => this.submit(batch));
  }

  /** The recipients of the submissions that replace a refused one; undefined where none does. */
  #batches(
    error: JmapError,
    recipients: readonly string[],
    named: readonly string[],
  ): (readonly string[])[] | undefined {
    const { type, maxRecipients } = error;
    if (named.length > 0) {
      const others = recipients.filter((recipient) => !named.includes(recipient));
      return [...(others.length > 0 ? [others] : []), ...named.map((recipient) => [recipient])];
    }
    const half = Math.ceil(recipients.length / 2);
    if (type === 'tooManyRecipients') {
      const most = typeof maxRecipients === 'number' ? Math.floor(maxRecipients) : half;
      return batchesOf(recipients, Math.max(1, Math.min(most, half)));
    }
    const isDivided = mayBeOfSome(error) && this.#refusals < limits.jmapRefusals;
    return isDivided ? batchesOf(recipients, half) : undefined;
  }

  /** Makes an email of the uploaded bytes. Nothing is sent by that, whatever becomes of it. */
  async #import(): Promise<Email | CallOutcome> {
    const { accountId, mailboxId } = this.#session;
    const email = {
      blobId: this.#message.blobId,
      mailboxIds: { [mailboxId]: true },
      keywords: { $seen: true },
    };
    const responses = await nothingSent(
      this.#request([['Email/import', { accountId, emails: { m: email } }, 'import']]),
    );
    const made = createdBy(responses.get('import'), 'm');
    if ('id' in made) return { id: made.id, isOurs: true };
    const { existingId } = made;
    if (made.type === 'alreadyExists' && typeof existingId === 'string') {
      return { id: existingId, isOurs: false };
    }
    return jmapOutcome(made);
  }

  /** Submits an email, which is destroyed when that has succeeded. Without an answer, it is looked up. */
  async #send(
    email: Email,
    recipients: readonly string[],
  ): Promise<{ outcome: CallOutcome; error?: JmapError }> {
    const { accountId, identities } = this.#session;
    const { sender } = this.#message;
    const submission = {
      identityId: identityFor(sender, identities),
      emailId: email.id,
      envelope: {
        mailFrom: { email: canonicalAddress(sender) },
        rcptTo: recipients.map((recipient) => ({ email: canonicalAddress(recipient) })),
      },
    };
    const args = {
      accountId,
      create: { s: submission },
      ...(email.isOurs && { onSuccessDestroyEmail: ['#s'] }),
    };
    let answer: MethodResponse | undefined;
    try {
      answer = (await this.#request([['EmailSubmission/set', args, 'submit']])).get('submit');
    } catch (error) {
      if (error instanceof BackendUnavailableError) {
        await this.#cleanUp(email);
        throw error;
      }
      return { outcome: await this.#lookUp(email, (error as Error).message) };
    }
    if (!answer || answer.error === 'serverPartialFail') {
      return { outcome: await this.#lookUp(email, 'the JMAP server did only a part of a request') };
    }
    const made = createdBy(answer, 's');
    if ('id' in made) {
      this.#refusals = 0;
      return { outcome: { kind: 'sent', reason: `taken by the JMAP server as ${made.id}` } };
    }
    this.#refusals += 1;
    await this.#cleanUp(email);
    return { outcome: jmapOutcome(made), error: made };
  }

  /**
   * What became of a submission without an answer. The server knows it, or the email is gone, which it destroys after
   * sending: it was sent. The email is still there, and can be destroyed: it was not, and no longer can be.
   */
  async #lookUp(email: Email, why: string): Promise<CallOutcome> {
    const unknown: CallOutcome = { kind: 'unknown', reason: why };
    const sent: CallOutcome = { kind: 'sent', reason: `found at the JMAP server, after: ${why}` };
    if (!email.isOurs) return unknown;
    const there = await this.#find(email.id);
    if (there === undefined) return unknown;
    if (!there) return sent;
    const destroyed = await this.#destroyUnsent(email.id);
    if (destroyed === undefined) return unknown;
    if (!destroyed) return sent;
    return { kind: 'unavailable', reason: `${why}; it was not sent`, retryAfterMs: undefined };
  }

  /** Whether an email is there of which no submission is known; undefined where the server does not say so. */
  async #find(emailId: string): Promise<boolean | undefined> {
    const { accountId } = this.#session;
    const calls: MethodCall[] = [
      ['EmailSubmission/query', { accountId, filter: { emailIds: [emailId] } }, 'query'],
      ['Email/get', { accountId, ids: [emailId], properties: ['id'] }, 'email'],
    ];
    for (let look = 1; look <= limits.jmapLooks; look += 1) {
      if (look > 1) await sleep(this.#server.machine, limits.jmapLookMs);
      const responses = await this.#request(calls).catch(() => undefined);
      const submissions = listIn(responses?.get('query'), 'ids');
      const emails = listIn(responses?.get('email'), 'list');
      if (!submissions) continue; // That the email is gone says nothing alone: anybody may have removed it.
      if (submissions.length > 0 || emails?.length === 0) return false;
      if (emails) return true;
    }
    return undefined;
  }

  /** Whether an email was destroyed before it was sent; undefined where the server does not say so. */
  async #destroyUnsent(emailId: string): Promise<boolean | undefined> {
    const { accountId } = this.#session;
    const responses = await this.#request([
      ['Email/set', { accountId, destroy: [emailId] }, 'destroy'],
      ['EmailSubmission/query', { accountId, filter: { emailIds: [emailId] } }, 'query'],
    ]).catch(() => undefined);
    const submissions = listIn(responses?.get('query'), 'ids');
    if (!submissions) return undefined;
    if (submissions.length > 0) return false;
    const answer = responses?.get('destroy');
    if (listIn(answer, 'destroyed')?.includes(emailId)) return true;
    return errorIn(answer, 'notDestroyed', emailId).type === 'notFound' ? false : undefined;
  }

  /** Destroys an email that was not sent. Where that fails it stays in the mailbox, and does no harm. */
  async #cleanUp({ id, isOurs }: Email): Promise<void> {
    if (!isOurs) return;
    const { accountId } = this.#session;
    await this.#request([['Email/set', { accountId, destroy: [id] }, 'destroy']]).catch(() => {});
  }

  async #results(outcome: CallOutcome, recipients: readonly string[]): Promise<Result[]> {
    return callResults(recipients, async () => Promise.resolve(outcome));
  }

  async #request(calls: readonly MethodCall[]): Promise<Map<string, MethodResponse>> {
    return this.#server.request(this.#session.apiUrl, calls);
  }
}

/** The id of an object that a method was to create, or why it did not. */
function createdBy(response: MethodResponse | undefined, name: string): { id: string } | JmapError {
  if (!response) return { type: 'no response' };
  if (response.error !== undefined) return { type: response.error, description: response.text };
  const { id } = Object(Object(response.result['created'])[name]) as { id?: unknown };
  return typeof id === 'string' ? { id } : errorIn(response, 'notCreated', name);
}

/** The recipients that invalidRecipients names. */
function namedIn({ type, invalidRecipients }: JmapError, recipients: readonly string[]): string[] {
  if (type !== 'invalidRecipients' || !Array.isArray(invalidRecipients)) return [];
  const named = new Set<unknown>(invalidRecipients);
  return recipients.filter(
    (recipient) => named.has(recipient) || named.has(canonicalAddress(recipient)),
  );
}

/** The SetError for an object. */
function errorIn(response: MethodResponse | undefined, list: string, name: string): JmapError {
  const errors = response?.error === undefined ? response?.result[list] : undefined;
  const error = Object(Object(errors)[name]) as Partial<JmapError>;
  return { ...error, type: typeof error.type === 'string' ? error.type : 'no result' };
}

function listIn(response: MethodResponse | undefined, name: string): unknown[] | undefined {
  const list = response?.error === undefined ? response?.result[name] : undefined;
  return Array.isArray(list) ? list : undefined;
}
