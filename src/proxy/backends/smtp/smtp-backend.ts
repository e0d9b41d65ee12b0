import type { SMTPError } from 'nodemailer/lib/smtp-connection';
import { thisMachine, type Machine } from '../../../host/machine.ts';
import { isIP } from 'node:net';
import { addressLiteral } from '../../../host/machine-names.ts';
import { hostPortText } from '../../../host/net/host-port.ts';
import {
  BackendBusyError,
  BackendThrottledError,
  BackendUnavailableError,
  type Backend,
  type Delivery,
  type Result,
} from '../backend.ts';
import { accountRemedy } from './oauth-remedies.ts';
import { OAuthError } from './oauth-tokens.ts';
import { readReply } from './read-reply.ts';
import { smtpErrorText } from './smtp-error-text.ts';
import { SmtpSessions, type SmtpRelay, type SmtpSession } from './smtp-sessions.ts';
import { transact } from './transact.ts';

/**
 * Sends on by SMTP (RFC 5321) to one relay, each message in one transaction. Only the line ends of a message change
 * (inCrlf). 8-bit octets are announced where 8BITMIME is offered, and sent all the same where it is not, as Exim does: nothing
 * is converted.
 */
export function smtpBackend(relay: SmtpRelay, machine: Machine = thisMachine): Backend {
  const sessions = new SmtpSessions(relay, machine);
  const mta = isIP(relay.host) === 0 ? relay.host : addressLiteral(relay.host);
  const told = (text: string, remedy = accountRemedy(text, relay.auth)) =>
    `the relay ${hostPortText(relay)}: ${text}${remedy === undefined ? '' : `. To do: ${remedy}`}`;
  const unavailable = (error: unknown) => {
    if (error instanceof BackendBusyError) throw error;
    const remedy = error instanceof OAuthError ? error.remedy : undefined;
    const { response } = error as SMTPError;
    const throttledMs =
      response === undefined ? undefined : readReply(response, 'MAIL').throttledMs;
    throw trouble(told(smtpErrorText(error), remedy), throttledMs);
  };

  async function deliver(first: SmtpSession, delivery: Delivery): Promise<Result[]> {
    let session = first;
    let transaction = await transact(session, delivery, mta);
    if (transaction.kind === 'stale') {
      session = await sessions.renew(session).catch(unavailable);
      transaction = await transact(session, delivery, mta);
    }
    void sessions.giveBack(session, { reset: transaction.reset });
    if (transaction.kind === 'answered') return transaction.results;
    if (transaction.kind === 'unknown') throw new Error(told(transaction.text));
    throw trouble(told(transaction.text), transaction.throttledMs);
  }

  return {
    async reserve(giveUp) {
      const session = await sessions.take(giveUp.signal).catch(unavailable);
      return {
        deliver: async (delivery) => deliver(session, delivery),
        release: () => void sessions.giveBack(session),
      };
    },
  };
}

function trouble(text: string, throttledMs: number | undefined): BackendUnavailableError {
  return throttledMs === undefined
    ? new BackendUnavailableError(text)
    : new BackendThrottledError(text, throttledMs);
}
