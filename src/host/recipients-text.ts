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
 * Recipients with the same verdict are named together: failed ones first, then those that are tried again. It names
 * limits.namedRecipients verdicts, and as many recipients of each.
 */
export function recipientsText(recipients: readonly JournalRecipient[]): string {
  const groups = new Map<string, string[]>();
  for (const recipient of recipients.toSorted(worstFirst)) {
    const verdict = `${wordFor(recipient)} (${recipient.status} ${recipient.reason})`;
    const group = groups.get(verdict);
    if (group) group.push(recipient.address);
    else groups.set(verdict, [recipient.address]);
  }
  const texts = [...groups].map(([verdict, addresses]) => `${addressList(addresses)} ${verdict}`);
  const others = [...groups.values()].slice(limits.namedRecipients).flat().length;
  const more = others > 0 ? [`and ${countOf(others, 'other recipient')}`] : [];
  return [...texts.slice(0, limits.namedRecipients), ...more].join('; ');
}

/** The word for what became of a recipient, as in the glossary of src/README.md. */
function wordFor({ state, status, sentBefore }: JournalRecipient): string {
  if (status === statuses.expired) return 'expired';
  if (sentBefore) return 'was sent before';
  return state === 'pending' ? 'deferred' : state;
}

function worstFirst(a: JournalRecipient, b: JournalRecipient): number {
  return (RANKS[a.state] ?? 2) - (RANKS[b.state] ?? 2);
}

const RANKS: Partial<Record<string, number>> = { failed: 0, pending: 1, deferred: 1 };
