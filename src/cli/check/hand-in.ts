import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import { fault, ok, type Finding } from '../../host/finding.ts';
import { machineNames } from '../../host/machine-names.ts';
import { runCommandWith } from '../../host/run-command.ts';
import { eximRoute } from '../exim/ask-exim.ts';
import { exim } from '../exim/debian-config.ts';

/**
 * Hands a message for the address to Exim, by SMTP on standard input (exim -bs), as nothing else tells its id; from who runs
 * this. The address is valid. Returns what Exim said, and the id where it took the message.
 */
export async function handIn(address: string): Promise<{ finding: Finding; eximId?: string }> {
  const { way, text: route } = eximRoute(undefined, address);
  if (!way) {
    const text = `no message was sent, since Exim would not hand one for <${address}> to the queue: ${route}`;
    return { finding: fault('handed', text, 'name an address of another host') };
  }
  const { mail } = await machineNames();
  const sender = `${userInfo().username}@${mail}`;
  const message = [
    `From: ${sender}`,
    `To: ${address}`,
    'Subject: appengine-mailer check --send',
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${randomBytes(16).toString('hex')}@${mail}>`,
    'Auto-Submitted: auto-generated',
    '',
    'An administrator sent this to see whether mail arrives.',
  ];
  const words = ['HELO localhost', `MAIL FROM:<${sender}>`, `RCPT TO:<${address}>`, 'DATA'];
  const input = [...words, ...message, '.', 'QUIT', ''].join('\r\n');
  const { stdout, stderr } = runCommandWith({ input }, exim, '-bs');
  const [, eximId] = /^250 OK id=(\S+)/m.exec(stdout) ?? [];
  if (eximId !== undefined) {
    return { finding: ok('handed', `Exim took the message as ${eximId}`), eximId };
  }
  const refusal = /^[45]\d\d[ -].*/m.exec(stdout)?.[0] ?? stderr.trim();
  const text = `Exim did not take the message: ${refusal}`;
  return { finding: fault('handed', text, SEE_LOG) };
}

const SEE_LOG = 'see the address and /var/log/exim4/mainlog';
