import { addressList } from '../mail/address-list.ts';
import { statuses } from '../mail/enhanced-status.ts';

/** A recipient and what was said of it. */
export interface JournalRecipient {
  address: string;
  state: string;
  status: string;
  reason: string;
}

/** Recipients with the same verdict are named together. */
export function recipientsText(recipients: readonly JournalRecipient[]): string {
  const groups = new Map<string, string[]>();
  for (const { address, state, status, reason } of recipients) {
    const word = status === statuses.expired ? 'given up' : (WORDS[state] ?? state);
    const said = `${word} (${status} ${reason})`;
    groups.set(said, [...(groups.get(said) ?? []), address]);
  }
  return [...groups].map(([said, addresses]) => `${addressList(addresses)} ${said}`).join('; ');
}

/** What the states of a recipient are called in a sentence. */
const WORDS: Partial<Record<string, string>> = { pending: 'deferred', failed: 'refused' };
