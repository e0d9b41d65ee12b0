import { isUtf8 } from 'node:buffer';
import { userInfo } from 'node:os';
import MailComposer from 'nodemailer/lib/mail-composer';
import { machineNames } from '../host/machine-names.ts';

/** Makes a message of a text, from the user who runs this, as mail(1) does. */
export async function composeText(
  to: readonly string[],
  subject: string,
  text: Buffer,
): Promise<Buffer> {
  const { mail } = await machineNames();
  const composer = new MailComposer({
    from: `${userInfo().username}@${mail}`,
    to: to.join(', '),
    subject,
    text: text.toString(isUtf8(text) ? 'utf8' : 'latin1'),
    newline: 'linux', // As what Exim hands over.
  });
  return composer.compile().build();
}
