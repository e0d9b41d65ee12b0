import addressparser from 'nodemailer/lib/addressparser';
import { encodeWord } from 'nodemailer/lib/mime-funcs';
import { ValueError } from '../../host/option-values.ts';
import { addressFault } from '../../mail/address-fault.ts';

/** The sender that replaces one that is not allowed. */
export interface DefaultSender {
  /** For the envelope. */
  address: string;
  /** As the administrator wrote it, perhaps with a name: `Ops <noreply@example.com>`. */
  mailbox: string;
  /** The same for a header field: in ASCII where the address is. */
  from: string;
}

/** Reads an address, with or without a name; undefined for an empty text. Throws ValueError. */
export function parseDefaultSender(text: string): DefaultSender | undefined {
  if (text.trim() === '') return undefined;
  const mailboxes = addressparser(text, { flatten: true });
  const { name, address } = mailboxes[0] ?? { name: '', address: '' };
  const fault =
    mailboxes.length > 1 ? 'it has more than one address' : faultOf(text, name, address);
  if (fault !== undefined) throw new ValueError(`is not valid: ${fault}`);
  const encoded = /^[ -~]*$/.test(name) ? text : `${encodeWord(name, 'Q', 52)} <${address}>`;
  return { address, mailbox: text, from: encoded };
}

function faultOf(text: string, name: string, address: string): string | undefined {
  if (/\p{Cc}/u.test(text)) return 'it has a control character';
  // Other programs may read it as another address.
  if (name.includes('@') || !(text === address || text.endsWith(`<${address}>`))) {
    return addressFault(text) ?? 'it has a name with an @';
  }
  return addressFault(address);
}
