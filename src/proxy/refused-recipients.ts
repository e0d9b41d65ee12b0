import { addressFault } from '../mail/address-fault.ts';
import { statuses } from '../mail/enhanced-status.ts';
import type { Verdict } from '../wire/verdicts.ts';

/** The verdicts that need no backend, by recipient: on invalid addresses, and on valid ones beyond the first `most`. */
export function refusedRecipients(
  recipients: readonly string[],
  most: number,
): Map<string, Verdict> {
  const refused = new Map<string, Verdict>();
  let taken = 0;
  for (const recipient of recipients) {
    const fault = addressFault(recipient);
    const refuse = (status: string, reason: string) =>
      refused.set(recipient, { recipient, status, reason });
    if (fault) refuse(statuses.badRecipient, fault);
    else if (taken === most) refuse(statuses.surplus, SURPLUS);
    else taken += 1;
  }
  return refused;
}

const SURPLUS = 'too many recipients in one post, post the rest again';
