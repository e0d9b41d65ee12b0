import { severalValues, takes, ValueError } from '../../host/option-values.ts';
import { addressFault } from '../../mail/address-fault.ts';
import { canonicalAddress } from '../../mail/canonical-address.ts';

/** Addresses and @domains, each as canonicalAddress gives it. */
export type AllowedSenders = ReadonlySet<string>;

/** Reads one or more addresses and @domains, as severalValues does. Throws ValueError. */
export function parseAllowedSenders(text: string): AllowedSenders {
  const entries = severalValues(text);
  if (entries.length === 0) {
    throw new ValueError('names no address or @domain');
  }
  for (const entry of entries) {
    if (entry.startsWith('*@')) {
      throw new ValueError(`takes no wildcard: write ${entry.slice(1)} for a whole domain`);
    }
    if (addressFault(entry.startsWith('@') ? `anybody${entry}` : entry) !== undefined) {
      throw takes('addresses and @domains', entry);
    }
  }
  return new Set(entries.map(canonicalAddress));
}

/**
 * Whether an entry is this address (with exactly this local part) or its @domain. An invalid address is not allowed:
 * other programs may read it as another one.
 */
export function isAllowed(allowed: AllowedSenders, address: string): boolean {
  if (addressFault(address) !== undefined) return false;
  const canonical = canonicalAddress(address);
  return allowed.has(canonical) || allowed.has(canonical.slice(canonical.lastIndexOf('@')));
}
