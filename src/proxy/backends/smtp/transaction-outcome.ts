import type { SmtpSent } from '../../../host/net/smtp-client.ts';
import type { SmtpReply } from './read-reply.ts';

/**
 * What came of a transaction:
 * answered     the relay has decided about the message, or about each of its recipients
 * unavailable  nothing was sent, and the message is not the cause
 * stale        the same, since the connection had died, or the relay had given it up, while it was not in use: the
 *              message is to be tried on another one
 * unknown      the end of the message may have reached the relay, and there is no reply to it
 */
export type TransactionOutcome =
  { kind: 'answered'; final: SmtpReply } | { kind: 'unavailable' | 'stale' | 'unknown' };

/** What is known of a transaction when it has ended. */
export interface TransactionFacts {
  stage: SmtpSent['stage'];
  /** The reply to the whole message; undefined when there is none. */
  final: SmtpReply | undefined;
  /** Whether a reply says that the relay takes no mail from us (SmtpReply.ofRelay). */
  isOfRelay: boolean;
  /** Whether the connection was used or idle before. */
  isReused: boolean;
}

/** Decides what came of a transaction. */
export function transactionOutcome(facts: TransactionFacts): TransactionOutcome {
  const { stage, final, isOfRelay, isReused } = facts;
  const isTaken = final?.status.startsWith('2') === true;
  // A relay that takes a message before its end has not got the whole of it.
  if (stage === 'whole' ? !final : isTaken) return { kind: 'unknown' };
  if (final && (isTaken || !isOfRelay)) return { kind: 'answered', final };
  const isClosed = !final || final.reason.startsWith('421 ');
  const isStale = isReused && stage === 'envelope' && isClosed;
  return { kind: isStale ? 'stale' : 'unavailable' };
}
