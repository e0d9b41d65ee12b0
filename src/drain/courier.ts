import { randomBytes } from 'node:crypto';
import { statuses } from '../mail/enhanced-status.ts';
import type { Claimed } from '../spool/claim.ts';
import { attempt, type Answer, type Post } from '../wire/attempt.ts';
import type { Connection } from '../wire/connection.ts';
import type { Verdict } from '../wire/verdicts.ts';
import type { Endpoint } from './endpoint.ts';
import { blame, meaningOf, type Meaning, type Passing } from './meaning.ts';

/** What came of delivering a message: the verdicts that were given, and what ended it early. */
export interface Delivery {
  verdicts: Verdict[];
  /** Undefined when every recipient has a verdict. */
  trouble?: { of: 'endpoint' | 'message' | 'nobody'; meaning: Meaning };
}

/** Posts messages to the endpoint and finds out who is to blame when one does not pass. */
export class Courier {
  readonly #connection: Connection;
  readonly #endpoint: Endpoint;
  readonly #stop: AbortSignal;
  #probing: Promise<Answer> | undefined;

  /** `stop` ends posts in flight. */
  constructor(connection: Connection, endpoint: Endpoint, stop: AbortSignal) {
    this.#connection = connection;
    this.#endpoint = endpoint;
    this.#stop = stop;
  }

  /**
   * Posts a message until every recipient has a verdict or there is trouble. Recipients that were one
   * too many for a post (4.5.3) are posted again at once. A connection that broke while other posts or a
   * probe pass is given a second try, before the message is charged with it.
   */
  async deliver(message: Claimed, bytes: Iterable<Buffer>): Promise<Delivery> {
    const verdicts = new Map<string, Verdict>();
    let recipients = message.recipients.map(({ address }) => address);
    let startedAt = performance.now();
    for (let tries = 1; recipients.length > 0;) {
      const envelope = { sender: message.sender, recipients };
      const answer = await this.#post({ id: message.id, envelope, bytes, size: message.size });

      if (answer.kind === 'verdicts') {
        // That this very post passed says nothing of those that follow.
        startedAt = performance.now();
        this.#endpoint.postPassed(startedAt);
        for (const verdict of answer.verdicts) verdicts.set(verdict.recipient, verdict);
        const surplus = answer.verdicts.filter(({ status }) => status === statuses.surplus);
        if (surplus.length === recipients.length) break;
        recipients = surplus.map(({ recipient }) => recipient);
        continue;
      }
      if (answer.kind === 'network') this.#endpoint.narrow();
      const meaning = meaningOf(answer);
      const of =
        answer.kind === 'aborted'
          ? 'nobody'
          : blame(meaning, await this.#passing(meaning, startedAt));
      if (of !== 'message' || answer.kind !== 'network' || tries === 2) {
        for (const recipient of recipients) verdicts.delete(recipient);
        return { verdicts: [...verdicts.values()], trouble: { of, meaning } };
      }
      tries += 1;
    }
    return { verdicts: [...verdicts.values()] };
  }

  /** Posts a probe: nothing is sent by it. One at a time; who asks meanwhile gets the same answer. */
  async probe(): Promise<Answer> {
    this.#probing ??= this.#post({
      id: randomBytes(16).toString('hex'),
      envelope: { sender: '', recipients: [] },
      bytes: [],
      size: 0,
    }).finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  get probing(): boolean {
    return this.#probing !== undefined;
  }

  /** One attempt, and a second with the proxy's clock when it finds ours wrong. */
  async #post(post: Post): Promise<Answer> {
    const answer = await attempt(this.#connection, post, this.#stop);
    return answer.kind === 'clock' ? attempt(this.#connection, post, this.#stop) : answer;
  }

  async #passing({ messageWhen }: Meaning, startedAt: number): Promise<Passing> {
    if (messageWhen === 'never' || messageWhen === 'always') return 'nothing';
    if (this.#endpoint.passedSince(startedAt)) return 'posts';
    if (messageWhen === 'posts pass') return 'nothing';
    const answer = await this.probe();
    return answer.kind === 'verdicts' ? 'probe' : 'nothing';
  }
}
