import { addressFault } from '../../mail/address-fault.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import type { Envelope } from '../../mail/envelope.ts';
import type { Verdict } from '../../wire/verdicts.ts';

/** Verdicts that need no backend, by recipient: invalid addresses, and those beyond `most` valid ones. */
export function refusalsOf({ recipients }: Envelope, most: number): Map<string, Verdict> {
  const refusals = new Map<string, Verdict>();
  let taken = 0;
  for (const recipient of recipients) {
    const fault = addressFault(recipient);
    const refuse = (status: string, reason: string) =>
      refusals.set(recipient, { recipient, status, reason });
    if (fault) refuse(statuses.badRecipient, fault);
    else if (taken === most) refuse(statuses.surplus, SURPLUS);
    else taken += 1;
  }
  return refusals;
}

const SURPLUS = 'too many recipients in one post, post the rest again';
