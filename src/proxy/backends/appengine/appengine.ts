import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { TimeUpError } from '../../../host/within-time.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import { limits } from '../../../limits.ts';
import { BackendUnavailableError, limited, type Backend, type Delivery } from '../backend.ts';
import { callApi, type ApiHost } from './call.ts';
import { mailFields } from './mail.ts';
import { encodeMailMessage, type MailMessage } from './message.ts';
import { mailOutcome, type MailOutcome } from './outcome.ts';
import { UnsendableError } from './unsendable-error.ts';

/**
 * Sends by App Engine's Mail API, all recipients in one call, within the request that brought the message,
 * whose ticket the call needs. Google does not support this for Node: it follows the protocol of Google's
 * own clients for other languages. A sender that Google refuses is replaced where the delivery allows it.
 */
export function appengineBackend(api: ApiHost, journal: ProxyJournal): Backend {
  async function call(delivery: Delivery, message: MailMessage): Promise<MailOutcome> {
    const request = encodeMailMessage(message);
    if (request.length > limits.appengineMessageBytes) {
      const reason = `for the Mail API the message is larger than ${limits.appengineMessageBytes} bytes`;
      return { kind: 'refused', status: statuses.tooLarge, reason };
    }
    const { ticket = '' } = delivery;
    return mailOutcome(await callApi(api, { service: 'mail', method: 'Send', request, ticket }));
  }

  return limited(limits.appengineCalls, async (delivery) => {
    const { sender, recipients, substitute } = delivery;
    const all = (status: string, reason: string) =>
      recipients.map((recipient) => ({ recipient, status, reason }));
    let fields;
    try {
      fields = await mailFields(delivery);
    } catch (error) {
      if (error instanceof UnsendableError) return all(error.status, error.message);
      const why = error instanceof TimeUpError ? error.message : String(error);
      journal.unreadable(delivery, why);
      return all(statuses.trouble, `the message cannot be taken apart: ${why}`);
    }
    const { message, dropped } = fields;

    let outcome = await call(delivery, message);
    if (outcome.kind === 'refused' && outcome.forItsSender && substitute !== undefined) {
      journal.senderFixed(delivery, sender, message.sender, substitute);
      const { replyTo = message.sender } = message;
      outcome = await call(delivery, { ...message, sender: substitute, replyTo });
      if (outcome.kind === 'refused' && outcome.forItsSender) {
        const reason = `Unauthorized default message sender '${substitute}': ${outcome.reason}`;
        return all(outcome.status, reason);
      }
    }
    if (outcome.kind === 'sent') {
      if (dropped.length > 0) journal.headersDropped(delivery, dropped);
      return all(statuses.sent, 'taken by the Mail API');
    }
    if (outcome.kind === 'unavailable') {
      throw new BackendUnavailableError(outcome.reason, outcome.retryAfterMs);
    }
    if (outcome.kind === 'unknown') throw new Error(outcome.reason);
    const { status, reason, forItsSender } = outcome;
    return all(
      status,
      forItsSender ? `Unauthorized message sender '${message.sender}': ${reason}` : reason,
    );
  });
}

/** Where App Engine says its APIs are. Throws Failure 78 when that is no port. */
export function apiHost({ API_HOST, API_PORT }: NodeJS.ProcessEnv): ApiHost {
  const port = Number(API_PORT || 10_001);
  if (!Number.isSafeInteger(port) || port < 1 || port > 65_535) {
    throw new CommandError(exitCodes.configuration, 'API_PORT is a number from 1 to 65535');
  }
  return { host: API_HOST || 'appengine.googleapis.internal', port };
}
