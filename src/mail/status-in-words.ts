/** What an enhanced status means, in a sentence for somebody who sends mail and does not know about mail servers. */
export function statusInWords(status: string): string {
  const [digit, ...detail] = status.split('.');
  const rest = detail.join('.');
  const known = MEANINGS[rest] ?? MEANINGS[`${detail[0]}.*`];
  if (known !== undefined) return known;
  return digit === '5' ? 'It was refused.' : 'It cannot be taken at present.';
}

/** By subject and detail (RFC 3463 3, and the registry of RFC 5248); * is every other detail of the subject. */
const MEANINGS: Partial<Record<string, string>> = {
  '1.0': 'The address is not taken.',
  '1.1': 'There is no such address: see whether it is spelled correctly.',
  '1.2':
    'There is no such domain, or it takes no mail: see whether the address is spelled correctly.',
  '1.3': 'This is not a valid address.',
  '1.6': 'The mailbox has moved, and its new address is not known.',
  '1.7': 'Your own address, the sender, is not valid.',
  '1.8': 'The domain of your own address, the sender, is not known there.',
  '1.10': 'The domain takes no mail.',
  '2.1': 'The mailbox is disabled and takes no mail.',
  '2.2': 'The mailbox is full.',
  '2.3': 'The mail is larger than the recipient may get.',
  '3.4': 'The mail is too large.',
  '4.1': 'The mail server of the recipient does not answer.',
  '4.4': 'The mail server of the recipient cannot be found.',
  '4.7': 'It could not be delivered for too long, and was given up.',
  '5.3': 'The mail has too many recipients.',
  '6.0': 'The content of the mail cannot be sent.',
  '6.7': 'The address has letters that a mail server on the way does not know.',
  '7.1': 'You may not send this mail: the sender, or the mail itself, is not permitted.',
  '7.26': 'The mail is not authenticated as mail from the domain of the sender.',
  '2.*': 'The mailbox of the recipient does not take it.',
  '4.*': 'The network or a mail server on the way fails.',
  '6.*': 'The content of the mail is not taken.',
  '7.*': 'It is not permitted, for a reason of security or of policy.',
};
