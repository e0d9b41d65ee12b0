import addressparser from 'nodemailer/lib/addressparser';
import { canonicalAddress } from '../mail/canonical-address.ts';

/**
 * The addresses in the values of header fields such as To, members of groups too, each once. An entry that has
 * a name and no address (`To: root`) is returned as that name, so that no recipient is lost silently.
 */
export function headerAddresses(values: readonly string[]): string[] {
  const addresses = values
    .flatMap((value) => addressparser(value, { flatten: true }))
    .map(({ address, name }) => address || name)
    .filter((address) => address !== '');
  const once = new Map(addresses.toReversed().map((each) => [canonicalAddress(each), each]));
  return [...once.values()].toReversed();
}
