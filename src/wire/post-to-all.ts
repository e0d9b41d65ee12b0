import { statuses } from '../mail/enhanced-status.ts';
import type { Answer, Post, Trouble } from './attempt.ts';
import type { Verdict } from './verdicts.ts';

/** What came of posting a message to all its recipients. */
export interface Posted {
  verdicts: Verdict[];
  /** What ended it early, and those that have no verdict. */
  trouble?: { answer: Trouble; undecided: string[] };
}

/**
 * Posts a message until every recipient has a verdict or there is trouble. Recipients that were too many
 * for one post (4.5.3) are posted again at once, without those that were not.
 */
export async function postToAll(
  post: Post,
  once: (post: Post) => Promise<Answer>,
): Promise<Posted> {
  const verdicts = new Map<string, Verdict>();
  const { sender } = post.envelope;
  let { recipients } = post.envelope;
  while (recipients.length > 0) {
    const answer = await once({ ...post, envelope: { sender, recipients } });
    if (answer.kind !== 'verdicts') {
      for (const recipient of recipients) verdicts.delete(recipient);
      return { verdicts: [...verdicts.values()], trouble: { answer, undecided: recipients } };
    }
    for (const verdict of answer.verdicts) verdicts.set(verdict.recipient, verdict);
    const surplus = answer.verdicts.filter(({ status }) => status === statuses.surplus);
    if (surplus.length === recipients.length) break;
    recipients = surplus.map(({ recipient }) => recipient);
  }
  return { verdicts: [...verdicts.values()] };
}
