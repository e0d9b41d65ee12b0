import type { Claimed } from '../spool/claim.ts';
import type { PostResult, PostRequest, PostFailure } from '../wire/attempt.ts';
import { faultScope, diagnose, type Diagnosis, type HealthSince } from '../wire/diagnose.ts';
import { postUntilSettled } from '../wire/post-until-settled.ts';
import type { Poster } from '../wire/poster.ts';
import { probe } from '../wire/probe.ts';
import type { Verdict } from '../wire/verdicts.ts';
import type { Endpoint } from './endpoint.ts';

/** Whose trouble it is; `pace`: the proxy wants fewer posts; `nobody`: this program stops. */
type TroubleOf = 'endpoint' | 'message' | 'pace' | 'nobody';

/** What came of delivering a message: the verdicts that were given, and what ended it early. */
export interface Delivery {
  verdicts: Verdict[];
  /** Whether a post was answered with verdicts. That the proxy answers who asks it shows no more than a probe. */
  passed?: boolean;
  /** Undefined when every recipient has a verdict. */
  trouble?: { of: TroubleOf; meaning: Diagnosis };
}

/** Posts messages to the endpoint and finds out who is to blame when one does not pass. */
export class Courier {
  readonly #poster: Poster;
  readonly #endpoint: Endpoint;
  readonly #stop: AbortSignal;
  readonly #giveUp: AbortSignal;
  #probing: Promise<PostResult> | undefined;

  /** `stop` ends asking for what is in progress, `giveUp` ends posts in flight. */
  constructor(poster: Poster, endpoint: Endpoint, stop: AbortSignal, giveUp: AbortSignal) {
    this.#poster = poster;
    this.#endpoint = endpoint;
    this.#stop = stop;
    this.#giveUp = giveUp;
  }

  /**
   * Posts a message until every recipient has a verdict or there is trouble. A connection that broke
   * while other posts or a probe pass is given a second try, over a new one, before the message is charged
   * with it. `inProgress` is called with recipients that the proxy is still sending when it answers.
   */
  async deliver(
    message: Claimed,
    bytes: Iterable<Buffer>,
    inProgress: (recipients: readonly string[]) => void,
  ): Promise<Delivery> {
    const { id, sender, size } = message;
    const verdicts: Verdict[] = [];
    let recipients = message.recipients.map(({ address }) => address);
    let passed = false;
    let startedAt = performance.now();
    const once = async (post: PostRequest) => {
      const answer = await this.#poster(post, post.ask ? this.#stop : this.#giveUp);
      if (answer.kind === 'verdicts' && !post.ask) {
        passed = true;
        // That this very post passed says nothing of those that follow.
        startedAt = performance.now();
        this.#endpoint.postPassed(startedAt);
        const slow = answer.verdicts.filter((verdict) => verdict.inProgress);
        if (slow.length > 0) inProgress(slow.map(({ recipient }) => recipient));
      }
      return answer;
    };
    for (let tries = 1; ; tries += 1) {
      const post = { id, envelope: { sender, recipients }, bytes, size, fresh: tries > 1 };
      const posted = await postUntilSettled(post, once, this.#stop);
      verdicts.push(...posted.verdicts.filter((verdict) => !verdict.inProgress));
      if (!posted.trouble) {
        const isDecided = posted.verdicts.every((verdict) => !verdict.inProgress);
        return isDecided ? { verdicts, passed } : { verdicts, passed, trouble: STOPPED };
      }
      const { answer, undecided } = posted.trouble;
      if (answer.kind === 'network') this.#endpoint.narrow();
      const meaning = diagnose(answer);
      const of = await this.#troubleOf(answer, meaning, startedAt);
      const again = answer.kind === 'network' && !answer.repeated && tries === 1;
      if (of !== 'message' || !again) {
        return { verdicts, passed, trouble: { of, meaning } };
      }
      recipients = undecided;
    }
  }

  /** Posts a probe: nothing is sent by it. One at a time; who asks meanwhile gets the same answer. */
  async probe(): Promise<PostResult> {
    this.#probing ??= this.#poster(probe(), this.#giveUp).finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  get probing(): boolean {
    return this.#probing !== undefined;
  }

  async #troubleOf(answer: PostFailure, meaning: Diagnosis, startedAt: number): Promise<TroubleOf> {
    if (answer.kind === 'aborted') return 'nobody';
    if (answer.kind === 'slower') return 'pace';
    return faultScope(meaning, await this.#passing(meaning, startedAt));
  }

  async #passing({ messageWhen }: Diagnosis, startedAt: number): Promise<HealthSince> {
    if (messageWhen === 'never' || messageWhen === 'always') return 'nothing';
    if (this.#endpoint.passedSince(startedAt)) return 'posts';
    if (messageWhen === 'posts pass') return 'nothing';
    const answer = await this.probe();
    return answer.kind === 'verdicts' ? 'probe' : 'nothing';
  }
}

const STOPPED = {
  of: 'nobody' as const,
  meaning: {
    text: 'the proxy is still sending it while this program stops',
    messageWhen: 'never' as const,
  },
};
