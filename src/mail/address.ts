import { strictUtf8 } from './strict-utf8.ts';

/**
 * Reads the octets of an address. Octets that are not UTF-8 become a string with lone surrogates (U+DC80 to U+DCFF, one for
 * each octet above 127, as Python's surrogateescape does), so that it can be stored, shown, posted as JSON and refused
 * without losing an octet.
 */
export function decodeAddress(octets: Uint8Array): string {
  try {
    return strictUtf8.decode(octets);
  } catch {
    return Array.from(octets, (octet) =>
      String.fromCharCode(octet < 0x80 ? octet : 0xdc00 + octet),
    ).join('');
  }
}

/** The octets of an address: the reverse of decodeAddress. */
export function encodeAddress(address: string): Buffer {
  // latin1 takes the low octet of each code unit, which is what an escaped octet stands for.
  return Buffer.from(address, address.isWellFormed() ? 'utf8' : 'latin1');
}
