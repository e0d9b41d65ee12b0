import { asciiDomain } from './ascii-domain.ts';
import { limits } from '../limits.ts';

/**
 * Says what is wrong with an address, as the reason of a 5.1.3 (RFC 3463 3.2); undefined when a mail
 * system could take it. Wider than RFC 5321's grammar where mail in the wild is: dots anywhere in a
 * local part, UTF-8 (RFC 6531), underscores in domains (asciiDomain).
 */
export function addressFault(address: string): string | undefined {
  if (!address.isWellFormed()) return 'the address is not UTF-8';
  if (Buffer.byteLength(address) > limits.addressBytes) {
    return `the address is longer than ${limits.addressBytes} octets`;
  }
  const at = address.lastIndexOf('@');
  if (at < 0) return 'the address has no @';
  if (!LOCAL_PART.test(address.slice(0, at))) return 'the local part of the address is not valid';
  const domain = address.slice(at + 1);
  if (!LITERAL.test(domain) && asciiDomain(domain) === undefined) {
    return 'the domain of the address is not valid';
  }
  return undefined;
}

// Apart from the coding of addresses: making these costs exim-pipe, which does not judge, milliseconds.
const ATOMS = String.raw`[^\p{Cc}\p{Z}()<>\[\]:;@\\,"]+`;
const QUOTED = String.raw`"(?:[^\p{Cc}"\\]|\\[^\p{Cc}])*"`;
const LOCAL_PART = new RegExp(`^(?:${ATOMS}|${QUOTED})$`, 'u');

const LITERAL = /^\[[0-9A-Za-z:.-]+\]$/;
