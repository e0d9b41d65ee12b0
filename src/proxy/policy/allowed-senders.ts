import { exitCodes, CommandError } from '../../host/command-error.ts';
import { severalValues } from '../../host/several-values.ts';
import { addressFault } from '../../mail/address-fault.ts';
import { canonicalAddress } from '../../mail/canonical-address.ts';

/** Addresses and @domains, each as canonicalAddress gives it. */
export type AllowedSenders = ReadonlySet<string>;

/** Reads one or more addresses and @domains, as severalValues does. Throws CommandError 78. */
export function parseAllowedSenders(given: readonly string[]): AllowedSenders {
  const entries = severalValues(given);
  if (entries.length === 0) {
    throw new CommandError(exitCodes.configuration, 'a list of allowed senders is empty');
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
 * Whether an entry is this address (with exactly this local part) or its @domain. An invalid address is not allowed:
 * other programs may read it as another one.
 */
export function isAllowed(allowed: AllowedSenders, address: string): boolean {
  if (addressFault(address) !== undefined) return false;
  const canonical = canonicalAddress(address);
  return allowed.has(canonical) || allowed.has(canonical.slice(canonical.lastIndexOf('@')));
}
