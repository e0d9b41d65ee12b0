import addressparser from 'nodemailer/lib/addressparser';
import { canonicalAddress } from '../mail/canonical-address.ts';

/**
 * The addresses in the values of header fields such as To, members of groups too, each once. What has a
 * name and no address (`To: root`) is given as that name: a recipient must not be lost without a word.
 */
export function headerAddresses(values: readonly string[]): string[] {
  const addresses = values
    .flatMap((value) => addressparser(value, { flatten: true }))
    .map(({ address, name }) => address || name)
    .filter((address) => address !== '');
  const once = new Map(addresses.toReversed().map((each) => [canonicalAddress(each), each]));
  return [...once.values()].toReversed();
}
