import { isAscii } from 'node:buffer';
import { thisMachine } from '../../../host/machine.ts';
import { limits } from '../../../limits.ts';
import { canonicalAddress } from '../../../mail/canonical-address.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import { limited, type Backend, type Delivery, type Result } from '../backend.ts';
import { inCrlf, type CrlfMessage } from '../in-crlf.ts';
import { callResults } from '../provider/call-outcome.ts';
import { batchesOf, inBatches } from '../provider/in-batches.ts';
import { base64Length, SesApi, type SesSurroundings } from './ses-api.ts';
import { sesOutcome } from './ses-outcome.ts';
import type { SesAccount } from './ses-options.ts';

/**
 * Sends by Amazon SES (API version 2, SendEmail with a raw message): the message in CRLF and the true recipients, 50 in
 * one call. README.md in this folder has the facts.
 */
export function sesBackend(account: SesAccount, surroundings: SesSurroundings = {}): Backend {
  const { machine = thisMachine, defaultSender } = surroundings;
  const ses = new SesApi(account, machine, surroundings);
  /** Whether a message was sent by this account since the start. */
  let isProven = false;

  async function deliver(delivery: Delivery): Promise<Result[]> {
    const { recipients } = delivery;
    const message = inCrlf(delivery.bytes);
    const sender = sesAddress(delivery.sender === '' ? (defaultSender ?? '') : delivery.sender);
    const fault = faultOf(sender, message);
    if (fault) return recipients.map((recipient) => ({ recipient, ...fault }));
    const fit = recipients.filter((recipient) => sesAddress(recipient) !== undefined);
    const unfit = recipients.filter((recipient) => !fit.includes(recipient));
    const results = await inBatches(batchesOf(fit, limits.sesRecipients), async (batch) =>
      callResults(batch, async (to) => {
        const addresses = to.map((recipient) => sesAddress(recipient) ?? recipient);
        const answer = await ses.sendEmail(sender ?? '', addresses, message);
        const outcome = sesOutcome(answer, addresses, isProven);
        isProven ||= outcome.kind === 'sent';
        return outcome;
      }),
    );
    return [...results, ...unfit.map((recipient) => ({ recipient, ...NOT_ASCII }))];
  }

  return limited(limits.providerCalls, deliver);
}

/** Why no recipient can be sent a message, whatever Amazon SES would say. */
function faultOf(
  sender: string | undefined,
  message: CrlfMessage,
): { status: string; reason: string } | undefined {
  if (sender === undefined) return { ...NOT_ASCII, reason: `sender: ${NOT_ASCII.reason}` };
  if (sender === '') return { status: statuses.senderRefused, reason: NULL_SENDER };
  if (base64Length(message) <= limits.sesBase64Bytes) return undefined;
  const reason = `in base64 the message is larger than ${limits.sesBase64Bytes} bytes, which is all that Amazon SES takes`;
  return { status: statuses.tooLarge, reason };
}

const NULL_SENDER =
  'Amazon SES takes no mail with the null sender, as reports have it, and there is no default sender that could stand in for it';
const NOT_ASCII = {
  status: statuses.noSmtpUtf8,
  reason: 'Amazon SES takes no address whose local part is not ASCII',
};

/** The address as Amazon SES takes it: the domain in Punycode; undefined for a local part that is not ASCII. */
function sesAddress(address: string): string | undefined {
  const ascii = canonicalAddress(address);
  return isAscii(Buffer.from(ascii)) ? ascii : undefined;
}
