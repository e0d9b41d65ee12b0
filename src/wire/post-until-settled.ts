import { setTimeout as sleep } from 'node:timers/promises';
import { statuses } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import type { PostResult, PostRequest, PostFailure } from './attempt.ts';
import type { Verdict } from './verdicts.ts';

/** What came of posting a message to all its recipients. */
export interface Posted {
  /** Those that are still in progress are among them when `patience` is over. */
  verdicts: Verdict[];
  /** What ended it early, and those that have no verdict. */
  trouble?: { answer: PostFailure; undecided: string[] };
}

/**
 * Posts a message until every recipient has a verdict, there is trouble, or `patience` is over. Recipients
 * that were too many for one post (4.5.3) are posted again at once; the proxy is asked for those that are in
 * progress, which costs no message bytes.
 */
export async function postUntilSettled(
  post: PostRequest,
  once: (post: PostRequest) => Promise<PostResult>,
  patience: AbortSignal,
): Promise<Posted> {
  const { sender } = post.envelope;
  const verdicts = new Map<string, Verdict>();
  const which = (wanted: (verdict: Verdict) => boolean) =>
    [...verdicts.values()].filter(wanted).map(({ recipient }) => recipient);
  let ask = false;
  let { recipients } = post.envelope;
  while (recipients.length > 0) {
    const request = { ...post, envelope: { sender, recipients } };
    const answer = await once(ask ? { ...request, ask, bytes: [], size: 0 } : request);
    if (answer.kind !== 'verdicts') {
      if (ask && patience.aborted) break;
      for (const recipient of recipients) verdicts.delete(recipient);
      const open = new Set(which((verdict) => isSurplus(verdict) || isInProgress(verdict)));
      const settled = [...verdicts.values()].filter(({ recipient }) => !open.has(recipient));
      return { verdicts: settled, trouble: { answer, undecided: [...recipients, ...open] } };
    }
    for (const verdict of answer.verdicts) verdicts.set(verdict.recipient, verdict);

    const surplus = which(isSurplus);
    if (!ask && surplus.length === recipients.length) break;
    ask = surplus.length === 0;
    recipients = ask ? which(isInProgress) : surplus;
    if (!ask || recipients.length === 0) continue;
    // A proxy that does not wait by itself is not asked all the time.
    await sleep(limits.askEveryMs, undefined, { signal: patience }).catch(() => {});
    if (patience.aborted) break;
  }
  return { verdicts: [...verdicts.values()] };
}

function isSurplus({ status }: Verdict): boolean {
  return status === statuses.surplus;
}

function isInProgress({ inProgress }: Verdict): boolean {
  return inProgress === true;
}
