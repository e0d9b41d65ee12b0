import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { TimeUpError } from '../../../host/within-time.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import { limits } from '../../../limits.ts';
import {
  BackendUnavailableError,
  limited,
  type Backend,
  type Delivery,
  type Result,
} from '../backend.ts';
import { callApi, type ApiHost } from './call-api.ts';
import { mailFields } from './mail-fields.ts';
import { encodeMailMessage, type MailMessage } from './mail-message.ts';
import { mailOutcome, type MailOutcome } from './mail-outcome.ts';
import { requestTicket, withTicketOf } from './request-ticket.ts';
import { UnsendableError } from './unsendable-error.ts';

/**
 * Sends by App Engine's Mail API, all recipients in one call, with the ticket of the request that brought the message.
 * Google does not support this for Node: it follows the protocol of Google's own clients for other languages. A sender
 * that Google refuses is replaced where the delivery allows it.
 */
export function appengineBackend(api: ApiHost, journal: ProxyJournal): Backend {
  const deliver = async (delivery: Delivery): Promise<Result[]> => {
    const { recipients } = delivery;
    const read = await readDelivery(delivery, journal);
    if ('status' in read) return recipients.map((recipient) => ({ recipient, ...read }));
    const outcome = await sendFields(read.message, delivery, { api, journal });
    if (outcome.kind === 'sent' && read.dropped.length > 0) {
      journal.headersDropped(delivery, read.dropped);
    }
    const verdict = verdictOf(outcome);
    return recipients.map((recipient) => ({ recipient, ...verdict }));
  };
  return { ...limited(limits.appengineCalls, deliver), withinRequest: withTicketOf };
}

/** Where App Engine says its APIs are. Throws CommandError 78 when that is no port. */
export function apiHost({ API_HOST, API_PORT }: NodeJS.ProcessEnv): ApiHost {
  const port = Number(API_PORT || 10_001);
  if (!Number.isSafeInteger(port) || port < 1 || port > 65_535) {
    throw new CommandError(exitCodes.configuration, 'API_PORT is a number from 1 to 65535');
  }
  return { host: API_HOST || 'appengine.googleapis.internal', port };
}

interface StatusAndReason {
  status: string;
  reason: string;
}

/** The Mail API's fields of a message, or the verdict on one that has none. */
async function readDelivery(
  delivery: Delivery,
  journal: ProxyJournal,
): Promise<Awaited<ReturnType<typeof mailFields>> | StatusAndReason> {
  try {
    return await mailFields(delivery);
  } catch (error) {
    if (error instanceof UnsendableError) return { status: error.status, reason: error.message };
    const why = error instanceof TimeUpError ? error.message : String(error);
    journal.unreadable(delivery, why);
    return { status: statuses.trouble, reason: `the message cannot be taken apart: ${why}` };
  }
}

/** Sends with the message's own sender and, where Google refuses that, with the fallback sender. */
async function sendFields(
  message: MailMessage,
  delivery: Delivery,
  { api, journal }: { api: ApiHost; journal: ProxyJournal },
): Promise<MailOutcome> {
  const { sender: envelopeSender, fallbackSender } = delivery;
  const own = await send(message, api);
  if (own.kind !== 'refused' || !own.forItsSender) return own;
  const refusedOwn = `Unauthorized message sender '${message.sender}': ${own.reason}`;
  if (fallbackSender === undefined) return { ...own, reason: refusedOwn };

  journal.senderFixed(delivery, envelopeSender, message.sender, fallbackSender);
  const { replyTo = message.sender } = message;
  const outcome = await send({ ...message, sender: fallbackSender, replyTo }, api);
  if (outcome.kind !== 'refused' || !outcome.forItsSender) return outcome;
  const reason = `Unauthorized default message sender '${fallbackSender}': ${outcome.reason}`;
  return { ...outcome, reason };
}

async function send(message: MailMessage, api: ApiHost): Promise<MailOutcome> {
  const request = encodeMailMessage(message);
  if (request.length > limits.appengineMessageBytes) {
    const reason = `for the Mail API the message is larger than ${limits.appengineMessageBytes} bytes`;
    return { kind: 'refused', status: statuses.tooLarge, reason };
  }
  const ticket = requestTicket();
  return mailOutcome(await callApi(api, { service: 'mail', method: 'Send', request, ticket }));
}

/** Throws BackendUnavailableError when nobody's mail can be sent, and another error when it may have been sent. */
function verdictOf(outcome: MailOutcome): StatusAndReason {
  if (outcome.kind === 'sent') {
    return { status: statuses.sent, reason: 'taken by the Mail API' };
  }
  if (outcome.kind === 'refused') return { status: outcome.status, reason: outcome.reason };
  if (outcome.kind === 'unknown') throw new Error(outcome.reason);
  throw new BackendUnavailableError(outcome.reason, outcome.retryAfterMs);
}
