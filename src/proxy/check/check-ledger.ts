import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { exclusiveLock } from '../../sqlite/exclusive-lock.ts';
import { fault, note, notChecked, ok, type Finding } from '../../host/finding.ts';
import { isCorruption } from '../../sqlite/is-corruption.ts';
import { logIsCut } from '../../sqlite/log-is-cut.ts';
import { openDatabase } from '../../sqlite/open-database.ts';
import { OpenFiles } from '../../sqlite/open-files.ts';
import type { LedgerPlace } from '../ledger/ledger-place.ts';
import { ledgerRemedy } from '../ledger/sqlite/ledger-fault.ts';
import { ledgerSchema } from '../ledger/sqlite/ledger-schema.ts';

/** Checks whether the ledger can be written, with or without a proxy that is at work on it, and whether there is one. */
export async function* checkLedger({ kind, name }: LedgerPlace): AsyncGenerator<Finding> {
  if (kind === 'file') {
    yield checkFile(name);
    yield checkService(name);
    return;
  }
  const { checkPostgres } = await import('./check-postgres.ts');
  yield* checkPostgres(name);
}

function checkFile(file: string): Finding {
  const isThere = existsSync(file);
  try {
    accessSync(isThere ? file : dirname(file), constants.R_OK | constants.W_OK);
    if (!isThere) return note('ledger', `there is no ${file}: the proxy makes it`, RIGHT_PATH);
    // It has to be asked before the file is opened, which hides the damaged end of a log.
    if (logIsCut(file)) {
      const text = `the write-ahead log of ${file} has lost its end: what was sent last may be forgotten`;
      return fault('ledger', text, 'look for a failing disk (dmesg), then start the proxy');
    }
    write(file);
    return ok('ledger', `${file} can be written`);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES') return notChecked('ledger', `only root and its owner may (${message})`);
    return fault('ledger', message, isCorruption(error) ? ledgerRemedy(file) : WRITABLE);
  }
}

/** Checks whether a proxy is at work on the ledger. */
function checkService(ledgerFile: string): Finding {
  const lockFile = `${ledgerFile}.lock`;
  try {
    // Taking the lock would make its file, which only the proxy may do.
    const lock = existsSync(lockFile) ? exclusiveLock(lockFile) : NOBODY;
    lock?.release();
    if (!lock) return ok('service', 'a proxy is at work on this ledger');
    return note('service', 'no proxy is at work on this ledger', START);
  } catch (error) {
    return notChecked('service', (error as Error).message);
  }
}

function write(file: string): void {
  const format = { ...ledgerSchema, migrate: false, create: false };
  const db = openDatabase(file, format);
  const files = new OpenFiles(db);
  try {
    files.transaction(() => db.exec('UPDATE checked SET times = times + 1'));
  } finally {
    files.close();
  }
}

const NOBODY = { release() {} };
const START = 'systemctl start appengine-mailer-proxy, or appengine-mailer-proxy by hand';
const RIGHT_PATH =
  'see that this is the right path (--ledger): with another ledger, what was sent before may be sent again';
const WRITABLE =
  'see that the file and its folder belong to the account of the proxy, and that the disk has room and works';
