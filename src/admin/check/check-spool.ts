import { spaceFault } from '../../host/free-space.ts';
import { findAccount, runCommandWith } from '../../host/run-command.ts';
import { spoolFile, type Spool } from '../../spool/spool.ts';
import { accountName } from './account-name.ts';
import { fault, ok, type Finding } from './finding.ts';

/** Whether the spool takes messages, and keeps them through a power cut. */
export function checkSpool(spool: Spool): Finding[] {
  return [writable(spool), durable(spool), space(spool)];
}

function writable(spool: Spool): Finding {
  const { folder } = spool;
  spool.transaction(() => {}); // Begins to write. Root may where the account may not:
  const account = process.geteuid?.() === 0 ? findAccount(accountName) : undefined;
  const script = 'for file; do [ -w "$file" ] || { echo "$file"; exit 1; }; done';
  const files = [folder, spoolFile(folder)];
  const { code, stdout } = runCommandWith({ account }, 'sh', '-c', script, 'sh', ...files);
  if (code === 0) return ok('spool', `${folder} can be written`);
  return fault(
    'spool',
    `${accountName} may not write ${stdout.trim()}`,
    `chown -R ${accountName}: ${folder} && chmod 2770 ${folder}`,
  );
}

function durable(spool: Spool): Finding {
  const [mode, level] = ['journal_mode', 'synchronous'].map((name) =>
    String(spool.db.pragma(name, { simple: true })),
  );
  if (mode === 'wal' && level === '2')
    return ok('durable', 'synchronous=FULL, with a write-ahead log');
  return fault(
    'durable',
    `journal_mode=${mode}, synchronous=${level}: a power cut may lose mail`,
    'put the spool on a local file system that SQLite can use',
  );
}

function space(spool: Spool): Finding {
  const lacking = spaceFault(spool.folder, spool.spareBytes());
  if (lacking === undefined) return ok('space', 'there is room for more mail');
  return fault('space', lacking, 'make room; Exim keeps the mail until then');
}
