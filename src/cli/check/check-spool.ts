import { spaceFault } from '../../host/free-space.ts';
import { holdersOf } from '../../sqlite/holders-of.ts';
import { findAccount, runCommandWith } from '../../host/run-command.ts';
import { logBytes, logGrownRemedy, logGrownText } from '../../sqlite/watch-log.ts';
import { limits } from '../../limits.ts';
import { spoolFile, type Spool } from '../../spool/spool.ts';
import { accountName } from './account-name.ts';
import { fault, ok, type Finding } from '../../host/finding.ts';

/** Whether the spool keeps messages through a power cut, and has room for more. Throws when it cannot be written. */
export function checkSpool(spool: Spool): Finding[] {
  spool.transaction(() => {}); // Begins to write.
  return [durable(spool), space(spool), log(spool)];
}

/** Whether Exim's account may write to the spool. To be asked before the spool is opened, for which root is given up. */
export function checkWritable(folder: string): Finding {
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
  const lacking = spaceFault(spool.folder);
  if (lacking === undefined) return ok('space', 'there is room for more mail');
  return fault('space', lacking, 'make room; Exim keeps the mail until then');
}

/** Drain has the file open too, and is in order; only who reads an old state is not. */
function log({ folder, files }: Spool): Finding {
  const bytes = logBytes(files.name);
  if (bytes <= limits.logAlarmBytes) return ok('log', 'the write-ahead log of the spool is small');
  const text = logGrownText(`the spool ${folder}`, bytes, holdersOf(files.name));
  return fault('log', text, logGrownRemedy);
}
