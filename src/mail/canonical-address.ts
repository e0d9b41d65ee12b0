import { asciiDomain } from './ascii-domain.ts';

/**
 * The form in which two addresses that are the same are equal: the domain as DNS has it, so that bücher.example
 * is xn--bcher-kva.example, and what is not a domain name in lower case. A local part is its host's own
 * business, and kept to the letter (RFC 5321 2.4).
 */
export function canonicalAddress(address: string): string {
  const at = address.lastIndexOf('@') + 1;
  const domain = address.slice(at);
  return address.slice(0, at) + (asciiDomain(domain) ?? domain.toLowerCase());
}
