import { countOf } from '../../host/count-of.ts';
import { limits } from '../../limits.ts';
import type { Key } from './keyring.ts';
import type { SenderRules } from './sender-policy.ts';

/** The allowed senders, for people: the first few of many, and how many keys have a list of their own. */
export function sendersText(
  { allowed, defaultSender, fix }: SenderRules,
  keys: readonly Key[],
): string {
  const listed = [...(allowed ?? [])];
  const named = listed.slice(0, limits.namedSenders).join(' ');
  const more = listed.length - limits.namedSenders;
  const common = allowed
    ? `allowed senders ${named}${more > 0 ? ` and ${more} more` : ''}`
    : 'any sender';
  const own = keys.filter(({ allowedSenders }) => allowedSenders !== undefined).length;
  const but =
    own > 0 ? `${common}, but for ${countOf(own, 'key')} with a list of allowed senders` : common;
  const who = own === keys.length ? 'each key has a list of allowed senders' : but;
  if (defaultSender === undefined) return who;
  return `${who}, default sender ${defaultSender.address}${fix ? ' in the place of all others' : ''}`;
}
