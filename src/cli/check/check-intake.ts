import { existsSync } from 'node:fs';
import { fault, note, notChecked, ok, type Finding } from '../../host/finding.ts';
import { findAccount, runCommandWith } from '../../host/run-command.ts';
import { hasSystemd } from '../../host/systemd/has-systemd.ts';
import { eximSocket } from '../exim/ask-exim.ts';
import { mailServer, type MailServer } from '../mail-server.ts';
import { tryLmtp } from './try-lmtp.ts';

/** Whether the LMTP server takes mail of this machine's mail server: by a dialogue after which nothing is stored. */
export async function checkIntake(): Promise<Finding> {
  const server = mailServer();
  const path = eximSocket();
  if (!existsSync(path)) return withoutSocket(path, server);
  try {
    const refusal = await tryLmtp(path);
    if (refusal !== undefined) {
      const todo = 'fix that; the mail server keeps the mail until then, and tries again';
      return fault('intake', `the LMTP server on ${path} refuses mail: ${refusal}`, todo);
    }
    return accessFault(path, server) ?? ok('intake', `the LMTP server answers on ${path}`);
  } catch (error) {
    return unanswered(path, error as NodeJS.ErrnoException);
  }
}

/** Exim does without; the others have no other way. */
function withoutSocket(path: string, server: MailServer | undefined): Finding {
  const start = hasSystemd()
    ? `systemctl enable --now ${UNIT}.socket`
    : 'run appengine-mailer intake';
  if (server && server.name !== 'Exim') {
    return fault('intake', `there is no socket ${path} for ${server.name} to hand mail to`, start);
  }
  const text = `there is no socket ${path}, so Exim uses exim-pipe`;
  return hasSystemd() ? note('intake', `${text}, which takes longer`, start) : ok('intake', text);
}

/** Whether the account of the mail server may connect, which only root can try. */
function accessFault(path: string, server: MailServer | undefined): Finding | undefined {
  const account = process.geteuid?.() === 0 && server && findAccount(server.account);
  if (!account) return undefined;
  const { code } = runCommandWith({ account }, 'sh', '-c', '[ -w "$1" ]', 'sh', path);
  if (code === 0) return undefined;
  const todo = hasSystemd()
    ? `systemctl daemon-reload && systemctl restart ${UNIT}.socket; SocketGroup= says which group may`
    : `chgrp $(id -gn ${server.account}) ${path}`;
  return fault('intake', `${server.name} (${server.account}) may not connect to ${path}`, todo);
}

function unanswered(path: string, { code, message }: NodeJS.ErrnoException): Finding {
  if (code === 'EACCES') {
    return notChecked('intake', `only root and the group of the mail server may use ${path}`);
  }
  const todo = hasSystemd()
    ? `journalctl -u ${UNIT} -n 20 tells why; systemctl stop ${UNIT}.socket makes Exim use exim-pipe meanwhile`
    : `run appengine-mailer intake, or remove ${path}, which makes Exim use exim-pipe`;
  return fault('intake', `no LMTP server answers on ${path}: ${message}`, todo);
}

const UNIT = 'appengine-mailer-intake';
