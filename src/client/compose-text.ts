import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import MailComposer from 'nodemailer/lib/mail-composer';

/** Makes a message of a text, from the user who runs this, as mail(1) does. */
export async function composeText(
  to: readonly string[],
  subject: string,
  text: Buffer,
): Promise<Buffer> {
  const composer = new MailComposer({
    from: `${userInfo().username}@${mailName()}`,
    to: to.join(', '),
    subject,
    text: text.toString(isUtf8(text) ? 'utf8' : 'latin1'),
    newline: 'linux', // As what Exim hands over.
  });
  return composer.compile().build();
}

/** The host's name in addresses: Debian's /etc/mailname, where there is one. */
function mailName(): string {
  try {
    return readFileSync('/etc/mailname', 'utf8').trim() || hostname();
  } catch {
    return hostname();
  }
}
