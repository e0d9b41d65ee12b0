import { cut } from './cut.ts';
import { limits } from '../limits.ts';

/** Addresses for people: `<a@b>, <c@d> and 3 more`. */
export function addressList(addresses: readonly string[]): string {
  const named = addresses.slice(0, limits.namedRecipients).map(addressText);
  const more = addresses.length - named.length;
  return named.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** One address for people; one that is too long to be valid is cut, so that what is said of it can be read. */
export function addressText(address: string): string {
  return `<${cut(address, limits.addressBytes)}>`;
}
