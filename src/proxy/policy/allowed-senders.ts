import { exitCodes, CommandError } from '../../host/command-error.ts';
import { severalValues } from '../../host/several-values.ts';
import { addressFault } from '../../mail/address-fault.ts';
import { canonicalAddress } from '../../mail/canonical-address.ts';

/** Addresses and @domains, each as canonicalAddress gives it. */
export type AllowedSenders = ReadonlySet<string>;

/** Reads one or more addresses and @domains, as severalValues does. Throws Failure 78. */
export function parseAllowedSenders(given: readonly string[]): AllowedSenders {
  const entries = severalValues(given);
  if (entries.length === 0) {
    throw new CommandError(exitCodes.configuration, 'a list of allowed senders names none');
  }
  for (const entry of entries) {
    if (entry.startsWith('*@')) {
      throw new CommandError(
        exitCodes.configuration,
        `an allowed sender has no wildcard: everybody of a domain is ${entry.slice(1)}`,
      );
    }
    if (addressFault(entry.startsWith('@') ? `anybody${entry}` : entry) !== undefined) {
      throw new CommandError(
        exitCodes.configuration,
        `an allowed sender is an address or a @domain, and not ${JSON.stringify(entry)}`,
      );
    }
  }
  return new Set(entries.map(canonicalAddress));
}

/**
 * Whether an entry is the same address (the local part to the letter) or the address's @domain. What is no
 * address is not: it may be read as another one elsewhere.
 */
export function isAllowed(allowed: AllowedSenders, address: string): boolean {
  if (addressFault(address) !== undefined) return false;
  const canonical = canonicalAddress(address);
  return allowed.has(canonical) || allowed.has(canonical.slice(canonical.lastIndexOf('@')));
}
