import { chownSync, existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findAccount, runCommandWith } from '../../host/run-command.ts';
import { snippetFolder } from '../exim/hook.ts';
import { accountName } from './account-name.ts';
import { fault, ok, type Finding } from '../../host/finding.ts';

/**
 * Whether exim-pipe, with its launcher, Node.js and native module, can store a message: it gets one, for a
 * spool of its own that is thrown away. As root it runs as the account that Exim runs it as.
 */
export function checkPipe(): Finding {
  const pipe = [INSTALLED, join(snippetFolder(), 'exim-pipe')].find((file) => existsSync(file));
  if (pipe === undefined) {
    return fault('pipe', `there is no program ${INSTALLED}`, 'install appengine-mailer again');
  }
  const account = process.geteuid?.() === 0 ? findAccount(accountName) : undefined;
  const folder = mkdtempSync(join(account ? '/tmp' : tmpdir(), 'appengine-mailer-check-'));
  try {
    if (account) chownSync(folder, account.uid, account.gid);
    const { code, stdout, stderr } = runCommandWith(
      { input: MESSAGE, account },
      pipe,
      'check',
      '--spool',
      folder,
    );
    if (code === 0) return ok('pipe', `${pipe} runs`);
    const said = (stdout || stderr).trim();
    return fault('pipe', `${pipe} does not run: ${said}`, remedy(said));
  } finally {
    // As the account, whose folder it is: it could lead root elsewhere with a link, at the right moment.
    runCommandWith({ account }, 'rm', '-rf', folder);
  }
}

const INSTALLED = '/usr/lib/appengine-mailer/exim-pipe';
const MESSAGE = 'MAIL FROM:<>\nRCPT TO:<check@appengine-mailer.invalid>\nDATA\n\n.\n';

/** Exim keeps the mail in the meantime. */
function remedy(said: string): string {
  if (/\(ABI \d+\)/.test(said)) {
    return 'install Node.js 20 (20.19 or later), 22 (22.14 or later), 24 or 26; Exim keeps the mail until then';
  }
  if (/node: not found|node: command not found/.test(said)) {
    return 'apt install nodejs; Exim keeps the mail until then';
  }
  return 'fix that; Exim keeps the mail until then, and tries again';
}
