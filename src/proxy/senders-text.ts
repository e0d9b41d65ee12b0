import { limits } from '../mail/limits.ts';
import type { SenderRules } from './sender-policy.ts';

/** Who may send with keys that have no list of their own, for people; the first few where they are many. */
export function sendersText({ allowed, defaultSender, fix }: SenderRules): string {
  const listed = [...(allowed ?? [])];
  const named = listed.slice(0, limits.namedSenders).join(' ');
  const more = listed.length - limits.namedSenders;
  const who = allowed
    ? `allowed senders ${named}${more > 0 ? ` and ${more} more` : ''}`
    : 'any sender';
  if (defaultSender === undefined) return who;
  return `${who}, default sender ${defaultSender.address}${fix ? ' in the place of all others' : ''}`;
}
