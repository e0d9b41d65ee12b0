import { sleep, type Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import type { PostResult, PostRequest, PostFailure } from './attempt.ts';
import { isInProgress, isSurplus, type Verdict } from './verdicts.ts';

/**
 * Posts a message until every recipient has a verdict, a post fails, or `patience` is over. Recipients
 * that were too many for one post (4.5.3) are posted again at once; the proxy is asked for those that are in
 * progress, which costs no message bytes. Returns the verdicts, those in progress among them when `patience`
 * is over; and the failure that ended it early, which leaves the other recipients without one.
 */
export async function postUntilSettled(
  post: PostRequest,
  once: (post: PostRequest) => Promise<PostResult>,
  clock: Clock,
  patience: AbortSignal,
): Promise<{ verdicts: Verdict[]; failure?: PostFailure }> {
  const verdicts = new Map<string, Verdict>();
  let ours = post;
  let round: Round | undefined = { recipients: post.envelope.recipients, ask: false };
  while (round && round.recipients.length > 0) {
    const { ask } = round;
    const result = await once(requestOf(ours, round));
    if (result.kind !== 'verdicts') {
      if (ask && patience.aborted) break;
      for (const recipient of round.recipients) verdicts.delete(recipient);
      return { verdicts: [...verdicts.values()].filter(isSettled), failure: result };
    }
    ours = forLedger(ours, result.ledger);
    for (const verdict of result.verdicts) verdicts.set(verdict.recipient, verdict);
    round = nextRound([...verdicts.values()], round);
    if (!round?.ask) continue;
    // A proxy that does not wait by itself is not asked all the time.
    await sleep(clock, limits.askEveryMs, { signal: patience });
    if (patience.aborted) break;
  }
  return { verdicts: [...verdicts.values()] };
}

/** What the proxy of one ledger began, no other one knows: the posts that follow are for the same. */
function forLedger(post: PostRequest, ledger: string | undefined): PostRequest {
  return post.ledger === undefined && ledger !== undefined ? { ...post, ledger } : post;
}

/** To whom the message is posted now, or for whom the proxy is asked. */
interface Round {
  recipients: string[];
  ask: boolean;
}

function requestOf(post: PostRequest, { recipients, ask }: Round): PostRequest {
  const request = { ...post, envelope: { ...post.envelope, recipients } };
  return ask ? { ...request, ask, bytes: [], size: 0 } : request;
}

/** The next round; undefined when every recipient is settled, or when all of them were too many for the proxy. */
function nextRound(verdicts: readonly Verdict[], last: Round): Round | undefined {
  const which = (wanted: (verdict: Verdict) => boolean) =>
    verdicts.filter(wanted).map(({ recipient }) => recipient);
  const surplus = which(isSurplus);
  if (!last.ask && surplus.length === last.recipients.length) return undefined;
  if (surplus.length > 0) return { recipients: surplus, ask: false };
  const waiting = which(isInProgress);
  return waiting.length > 0 ? { recipients: waiting, ask: true } : undefined;
}

function isSettled(verdict: Verdict): boolean {
  return !isSurplus(verdict) && !isInProgress(verdict);
}
