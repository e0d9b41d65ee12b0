import type { Clock } from '../host/clock.ts';
import type { Claimed } from '../spool/claim.ts';
import { mayBeSent, type PostFailure, type PostRequest, type PostResult } from '../wire/attempt.ts';
import { diagnose, resolveScope, type FaultScope, type HealthSince } from '../wire/diagnose.ts';
import type { PostOnce } from '../wire/post-once.ts';
import { postUntilSettled } from '../wire/post-until-settled.ts';
import { probe } from '../wire/probe.ts';
import type { Bundled } from '../wire/bundler.ts';
import { isInProgress, type Verdict } from '../wire/verdicts.ts';
import type { Attempt, Trouble } from './attempt.ts';
import type { Endpoint } from './endpoint.ts';

/** Posts a message with others, if it can. */
export type PostBundled = (post: PostRequest, stop: AbortSignal) => Promise<Bundled>;

/** Posts messages to an endpoint and finds out where the fault is when one does not pass. */
export class Courier {
  readonly #postOnce: PostOnce;
  readonly #postBundled: PostBundled;
  readonly #endpoint: Endpoint;
  readonly #stop: AbortSignal;
  readonly #giveUp: AbortSignal;
  readonly #clock: Clock;
  #probing: Promise<PostResult> | undefined;

  /** `stop` ends asking for what is in progress, `giveUp` ends posts in flight. */
  constructor(
    { postOnce, postBundled }: { postOnce: PostOnce; postBundled: PostBundled },
    endpoint: Endpoint,
    clock: Clock,
    { stop, giveUp }: { stop: AbortSignal; giveUp: AbortSignal },
  ) {
    this.#clock = clock;
    this.#postOnce = postOnce;
    this.#postBundled = postBundled;
    this.#endpoint = endpoint;
    this.#stop = stop;
    this.#giveUp = giveUp;
  }

  /**
   * Posts a message until every recipient has a verdict or there is trouble. A connection that broke
   * while other posts or a probe pass is given a second try, over a new one, before the message is charged
   * with it. It is posted for the `ledger`, where one is known. `inProgress` is called with the recipients that the proxy is
   * still sending, after the post and after each time that it was asked.
   */
  async deliver(
    message: Claimed,
    bytes: Iterable<Buffer>,
    ledger: string | undefined,
    inProgress: (recipients: readonly string[]) => void,
  ): Promise<Attempt> {
    const { id, sender, size } = message;
    const verdicts: Verdict[] = [];
    let recipients = message.recipients.map(({ address }) => address);
    let passed = false;
    let unanswered = message.unansweredBy !== undefined;
    let startedAt = this.#clock.now();
    const once = async (post: PostRequest) => {
      const signal = post.ask ? this.#stop : this.#giveUp;
      // One that was tried before goes alone: it may be the one for which a bundle fails.
      const bundled = message.attempts === 0 ? await this.#postBundled(post, signal) : {};
      unanswered ||= bundled.maybeSent ?? false;
      // What passed while its bundle was under way says nothing of the post that goes alone now.
      if (bundled.maybeSent !== undefined) startedAt = this.#clock.now();
      const result = bundled.result ?? (await this.#postOnce(post, signal));
      unanswered ||=
        result.kind === 'verdicts' ? result.verdicts.some(isInProgress) : mayBeSent(result);
      if (result.kind !== 'verdicts') return result;
      if (!post.ask) {
        passed = true;
        const now = this.#clock.now();
        this.#endpoint.postPassed(now, now - startedAt);
        // That this very post passed says nothing of those that follow.
        startedAt = now;
      }
      const slow = result.verdicts.filter(isInProgress);
      if (slow.length > 0) inProgress(slow.map(({ recipient }) => recipient));
      return result;
    };
    for (let tries = 1; ; tries += 1) {
      const envelope = { sender, recipients };
      const post = { id, envelope, bytes, size, ledger, fresh: tries > 1 };
      const posted = await postUntilSettled(post, once, this.#clock, this.#stop);
      verdicts.push(...posted.verdicts.filter((verdict) => !isInProgress(verdict)));
      const { failure } = posted;
      if (!failure) {
        const isDecided = !posted.verdicts.some(isInProgress);
        if (isDecided) return { message, verdicts, passed };
        return { message, verdicts, passed, trouble: STOPPED, unanswered };
      }
      if (failure.kind === 'network') this.#endpoint.halveConcurrency();
      const trouble = await this.#troubleOf(failure, startedAt);
      if (tries > 1 || !isWorthAnother(failure, trouble)) {
        return { message, verdicts, passed, trouble, unanswered };
      }
      const settled = new Set(posted.verdicts.map(({ recipient }) => recipient));
      recipients = recipients.filter((recipient) => !settled.has(recipient));
    }
  }

  /** Posts a probe: nothing is sent by it. One at a time; who asks meanwhile gets the same answer. */
  async probe(): Promise<PostResult> {
    this.#probing ??= this.#postOnce(probe(this.#clock), this.#giveUp).finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  get probing(): boolean {
    return this.#probing !== undefined;
  }

  async #troubleOf(failure: PostFailure, startedAt: number): Promise<Trouble> {
    const diagnosis = diagnose(failure);
    if (failure.kind === 'aborted') return { scope: 'stop', diagnosis };
    if (failure.kind === 'slower') return { scope: 'pace', diagnosis };
    if (failure.kind === 'other-ledger') return { scope: 'ledger', diagnosis };
    const health = await this.#healthSince(startedAt, diagnosis.scope);
    return { scope: resolveScope(diagnosis.scope, health), diagnosis };
  }

  /** What passed since then, as far as it has to be known to resolve the scope. */
  async #healthSince(startedAt: number, scope: FaultScope): Promise<HealthSince> {
    if (scope === 'endpoint' || scope === 'message') return 'nothing';
    if (this.#endpoint.passedSince(startedAt)) return 'posts';
    if (scope === 'message-if-posts-pass') return 'nothing';
    const result = await this.probe();
    return result.kind === 'verdicts' ? 'probe' : 'nothing';
  }
}

/** Whether the post may pass over a new connection: the last one broke, or led to another proxy of several. */
function isWorthAnother(failure: PostFailure, { scope }: Trouble): boolean {
  if (failure.kind === 'other-ledger') return true;
  return scope === 'message' && failure.kind === 'network' && !failure.repeated;
}

const STOPPED: Trouble = {
  scope: 'stop',
  diagnosis: {
    text: 'the proxy is still sending it while this program stops',
    scope: 'endpoint',
  },
};
