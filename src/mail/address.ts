import { limits } from './limits.ts';

/**
 * Says what is wrong with an address, as the reason of a 5.1.3 (RFC 3463 3.2); undefined when a mail
 * system could take it. Wider than RFC 5321's grammar where mail in the wild is: dots anywhere in a
 * local part, UTF-8 (RFC 6531), underscores in domains.
 */
export function addressFault(address: string): string | undefined {
  if (!address.isWellFormed()) return 'the address is not UTF-8';
  if (Buffer.byteLength(address) > limits.addressBytes) {
    return `the address is longer than ${limits.addressBytes} octets`;
  }
  const at = address.lastIndexOf('@');
  if (at < 0) return 'the address has no @';
  if (!LOCAL_PART.test(address.slice(0, at))) return 'the local part of the address is not valid';
  if (!DOMAIN.test(address.slice(at + 1))) return 'the domain of the address is not valid';
  return undefined;
}

/**
 * Reads the octets of an address. What is not UTF-8 becomes a string that is told apart by lone
 * surrogates (U+DC80 to U+DCFF, one for each octet above 127, as Python's surrogateescape does), so
 * that it can be stored, shown, posted as JSON and refused without losing an octet.
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

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const ATOMS = String.raw`[^\p{Cc}\p{Z}()<>\[\]:;@\\,"]+`;
const QUOTED = String.raw`"(?:[^\p{Cc}"\\]|\\[^\p{Cc}])*"`;
const LOCAL_PART = new RegExp(`^(?:${ATOMS}|${QUOTED})$`, 'u');

const LABEL = String.raw`[\p{L}\p{N}\p{M}_](?:[\p{L}\p{N}\p{M}_-]*[\p{L}\p{N}\p{M}_])?`;
const LITERAL = String.raw`\[[0-9A-Za-z:.-]+\]`;
const DOMAIN = new RegExp(String.raw`^(?:${LABEL}(?:\.${LABEL})*\.?|${LITERAL})$`, 'u');
