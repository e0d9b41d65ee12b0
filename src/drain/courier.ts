import type { Claimed } from '../spool/claim.ts';
import type { Answer, Post } from '../wire/attempt.ts';
import { blame, meaningOf, type Meaning, type Passing } from '../wire/meaning.ts';
import { postToAll } from '../wire/post-to-all.ts';
import { probe, type Poster } from '../wire/poster.ts';
import type { Verdict } from '../wire/verdicts.ts';
import type { Endpoint } from './endpoint.ts';

/** What came of delivering a message: the verdicts that were given, and what ended it early. */
export interface Delivery {
  verdicts: Verdict[];
  /** Undefined when every recipient has a verdict. */
  trouble?: { of: 'endpoint' | 'message' | 'nobody'; meaning: Meaning };
}

/** Posts messages to the endpoint and finds out who is to blame when one does not pass. */
export class Courier {
  readonly #poster: Poster;
  readonly #endpoint: Endpoint;
  readonly #stop: AbortSignal;
  #probing: Promise<Answer> | undefined;

  /** `stop` ends posts in flight. */
  constructor(poster: Poster, endpoint: Endpoint, stop: AbortSignal) {
    this.#poster = poster;
    this.#endpoint = endpoint;
    this.#stop = stop;
  }

  /**
   * Posts a message until every recipient has a verdict or there is trouble. A connection that broke
   * while other posts or a probe pass is given a second try, over a new one, before the message is charged
   * with it.
   */
  async deliver(message: Claimed, bytes: Iterable<Buffer>): Promise<Delivery> {
    const { id, sender, size } = message;
    const verdicts: Verdict[] = [];
    let recipients = message.recipients.map(({ address }) => address);
    let startedAt = performance.now();
    const once = async (post: Post) => {
      const answer = await this.#poster(post, this.#stop);
      if (answer.kind === 'verdicts') {
        // That this very post passed says nothing of those that follow.
        startedAt = performance.now();
        this.#endpoint.postPassed(startedAt);
      }
      return answer;
    };
    for (let tries = 1; ; tries += 1) {
      const post = { id, envelope: { sender, recipients }, bytes, size, fresh: tries > 1 };
      const posted = await postToAll(post, once);
      verdicts.push(...posted.verdicts);
      if (!posted.trouble) return { verdicts };

      const { answer, undecided } = posted.trouble;
      if (answer.kind === 'network') this.#endpoint.narrow();
      const meaning = meaningOf(answer);
      const of =
        answer.kind === 'aborted'
          ? 'nobody'
          : blame(meaning, await this.#passing(meaning, startedAt));
      const again = answer.kind === 'network' && !answer.repeated && tries === 1;
      if (of !== 'message' || !again) {
        return { verdicts, trouble: { of, meaning } };
      }
      recipients = undecided;
    }
  }

  /** Posts a probe: nothing is sent by it. One at a time; who asks meanwhile gets the same answer. */
  async probe(): Promise<Answer> {
    this.#probing ??= this.#poster(probe(), this.#stop).finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  get probing(): boolean {
    return this.#probing !== undefined;
  }

  async #passing({ messageWhen }: Meaning, startedAt: number): Promise<Passing> {
    if (messageWhen === 'never' || messageWhen === 'always') return 'nothing';
    if (this.#endpoint.passedSince(startedAt)) return 'posts';
    if (messageWhen === 'posts pass') return 'nothing';
    const answer = await this.probe();
    return answer.kind === 'verdicts' ? 'probe' : 'nothing';
  }
}
