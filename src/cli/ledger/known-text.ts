import { showDuration } from '../../host/duration.ts';
import { addressText } from '../../mail/address-list.ts';
import type { KnownRecipient } from '../../proxy/ledger/read-ledger.ts';
import { time } from '../queue/entry-json.ts';

/** A recipient of the ledger in a line. `now` is in milliseconds since 1970. */
export function knownText(known: KnownRecipient, now: number): string {
  const { key, id, address, state, status, reason, at, sentAgain } = known;
  const ago = `${showDuration(now - at)} ago`;
  const message = `${id}${key === '' ? '' : ` of ${key}`}`;
  const told = {
    unknown: () => `unknown, listed ${ago}: ${reason}${sentAgain ? SENT_AGAIN : ''}`,
    begun: () => `begun, posted ${ago}`,
    sent: () => `sent, posted ${ago} (${status} ${reason})`,
  };
  return `${message}  ${addressText(address)} ${told[state]()}`;
}

/** What `ledger --json` says of it: times RFC 3339 in UTC, what is absent is null. */
export function knownFields(known: KnownRecipient): Record<string, unknown> {
  const { key, id, address, state, status, reason, at, sentAgain } = known;
  const isUnknown = state === 'unknown';
  return {
    id,
    key: key === '' ? null : key,
    recipient: address,
    state,
    status,
    reason,
    posted_at: isUnknown ? null : time(at),
    listed_at: isUnknown ? time(at) : null,
    sent_again: isUnknown ? sentAgain : null,
  };
}

const SENT_AGAIN = '; it was posted again and sent, so that the recipient may have it twice';
