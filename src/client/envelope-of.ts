import addressparser from 'nodemailer/lib/addressparser';
import type { Headers } from '../mail/headers.ts';

/**
 * Whom a message is from and for by its headers, for who gives no envelope: the first address of From,
 * undefined without one; and all of To, Cc and Bcc, groups too, each once.
 */
export function envelopeOf({ fields }: Headers): {
  sender: string | undefined;
  recipients: string[];
} {
  const addresses = (names: readonly string[]) =>
    fields
      .filter(({ name }) => names.includes(name))
      .flatMap(({ value }) => addressparser(value, { flatten: true }))
      .map(({ address }) => address)
      .filter((address) => address !== '');
  const [sender] = addresses(['from']);
  return { sender, recipients: [...new Set(addresses(['to', 'cc', 'bcc']))] };
}
