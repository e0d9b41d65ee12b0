import { existsSync } from 'node:fs';
import { exim } from './exim/debian-config.ts';

/** A mail server as Debian's packages install it. */
export interface MailServer {
  name: 'Exim' | 'Postfix' | 'OpenSMTPD';
  /** Its command; no other mail server has one of that name. */
  program: string;
  /** The account that hands mail over by LMTP. */
  account: string;
}

/** The mail server of this machine; undefined when it is none of these. Debian's packages exclude one another. */
export function mailServer(): MailServer | undefined {
  return SERVERS.find(({ program }) => existsSync(program));
}

const SERVERS: readonly MailServer[] = [
  { name: 'Exim', program: exim, account: 'Debian-exim' },
  { name: 'Postfix', program: '/usr/sbin/postfix', account: 'postfix' },
  { name: 'OpenSMTPD', program: '/usr/sbin/smtpctl', account: 'appengine-mailer' },
];
