import { thisMachine, type Machine } from '../../../host/machine.ts';
import { limits } from '../../../limits.ts';
import { canonicalAddress } from '../../../mail/canonical-address.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import { limited, type Backend } from '../backend.ts';
import { inCrlf } from '../in-crlf.ts';
import { callResults } from '../provider/call-outcome.ts';
import { batchesOf, inBatches } from '../provider/in-batches.ts';
import { MailgunApi } from './mailgun-api.ts';
import type { MailgunAccount } from './mailgun-options.ts';
import { mailgunOutcome } from './mailgun-outcome.ts';

/**
 * Sends by Mailgun (messages.mime): the message in CRLF and the true recipients, 1,000 in one call. The envelope sender
 * is Mailgun's own. README.md in this folder has the facts.
 */
export function mailgunBackend(
  account: MailgunAccount,
  { machine = thisMachine, ca }: { machine?: Machine; ca?: string[] } = {},
): Backend {
  const mailgun = new MailgunApi(account, machine, ca);
  return limited(limits.providerCalls, async ({ recipients, bytes }) => {
    const message = inCrlf(bytes);
    if (message.length > limits.mailgunMessageBytes) {
      const reason = `the message is larger than ${limits.mailgunMessageBytes} bytes, which is all that Mailgun takes`;
      return recipients.map((recipient) => ({ recipient, status: statuses.tooLarge, reason }));
    }
    return inBatches(batchesOf(recipients, limits.mailgunRecipients), async (batch) =>
      callResults(batch, async (to) =>
        mailgunOutcome(await mailgun.send(to.map(canonicalAddress), message), machine),
      ),
    );
  });
}
