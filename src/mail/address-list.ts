import { limits } from './limits.ts';

/** Addresses for people: `<a@b>, <c@d> and 3 more`. */
export function addressList(addresses: readonly string[]): string {
  const named = addresses.slice(0, limits.namedRecipients).map((address) => `<${address}>`);
  const more = addresses.length - named.length;
  return named.join(', ') + (more > 0 ? ` and ${more} more` : '');
}
