/**
 * The form in which two addresses that are the same are equal: the domain in lower case. A local part is
 * its host's own business, and kept to the letter (RFC 5321 2.4).
 */
export function canonicalAddress(address: string): string {
  const at = address.lastIndexOf('@') + 1;
  return address.slice(0, at) + address.slice(at).toLowerCase();
}
