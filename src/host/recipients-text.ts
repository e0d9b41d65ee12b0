import { addressList } from '../mail/address-list.ts';
import { statuses } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import { countOf } from './count-of.ts';

/** A recipient and what was said of it. */
export interface JournalRecipient {
  address: string;
  state: string;
  status: string;
  reason: string;
  /** An earlier post had it sent, and it was not sent again. */
  sentBefore?: true | undefined;
}

/**
 * Recipients with the same verdict are named together, those first that were refused, and then those that wait. It names
 * limits.namedRecipients verdicts, and as many recipients of each.
 */
export function recipientsText(recipients: readonly JournalRecipient[]): string {
  const groups = new Map<string, string[]>();
  for (const { address, state, status, reason, sentBefore } of recipients.toSorted(worstFirst)) {
    const known = sentBefore ? 'was sent before' : (WORDS[state] ?? state);
    const word = status === statuses.expired ? 'given up' : known;
    const said = `${word} (${status} ${reason})`;
    const group = groups.get(said);
    if (group) group.push(address);
    else groups.set(said, [address]);
  }
  const texts = [...groups].map(([said, addresses]) => `${addressList(addresses)} ${said}`);
  const others = [...groups.values()].slice(limits.namedRecipients).flat().length;
  const more = others > 0 ? [`and ${countOf(others, 'other recipient')}`] : [];
  return [...texts.slice(0, limits.namedRecipients), ...more].join('; ');
}

/** What the states of a recipient are called in a sentence. */
const WORDS: Partial<Record<string, string>> = { pending: 'deferred', failed: 'refused' };

function worstFirst(a: JournalRecipient, b: JournalRecipient): number {
  return (RANKS[a.state] ?? 2) - (RANKS[b.state] ?? 2);
}

const RANKS: Partial<Record<string, number>> = { failed: 0, pending: 1, deferred: 1 };
