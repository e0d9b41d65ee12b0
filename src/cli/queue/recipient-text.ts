import { addressText } from '../../mail/address-list.ts';
import type { Listed } from '../../spool/list.ts';

/** A recipient with its state and the last answer about it. */
export function recipientText({
  address,
  state,
  status,
  reason,
}: Listed['recipients'][number]): string {
  return `${addressText(address)} ${state}${status === null ? '' : ` (${status} ${reason ?? ''})`}`;
}
