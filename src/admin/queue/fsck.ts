import { closeSync, existsSync, lstatSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import type { CommandModule } from 'yargs';
import { becomeOwner } from '../../host/become-owner.ts';
import { environmentOptions } from '../../host/environment-options.ts';
import { exclusiveLock } from '../../host/exclusive-lock.ts';
import { exitCodes, Failure } from '../../host/failure.ts';
import { faultsOf } from '../../host/is-damage.ts';
import { tellRepair } from '../../host/repair-report.ts';
import { schemaFaults } from '../../host/schema-faults.ts';
import { stopSignal } from '../../host/stop-signal.ts';
import { rebuildLedger } from '../../proxy/rebuild-ledger.ts';
import { inspectSpool } from '../../spool/inspect-spool.ts';
import { rebuildSpool } from '../../spool/rebuild-spool.ts';
import { spoolFile, spoolSchema } from '../../spool/spool.ts';
import {
  becomeOwnerOfSpool,
  spoolOption,
  withDrainLock,
  withSpool,
} from '../../spool/with-spool.ts';
import { print, printed } from '../print.ts';

interface Arguments {
  spool: string;
  ledger: string | undefined;
  check: boolean;
  untold: boolean;
}

/** `appengine-mailer queue fsck`: says what is wrong with the spool, and repairs it. */
export const fsckCommand: CommandModule<object, Arguments> = {
  command: 'fsck',
  describe: 'Find what is damaged in the spool and repair the rest',
  builder: (yargs) =>
    yargs
      .options(environmentOptions({ spool: spoolOption }))
      .option('check', {
        type: 'boolean',
        default: false,
        describe: 'Only look, which also works beside the service',
      })
      .option('ledger', {
        type: 'string',
        describe: 'Repair this ledger of a proxy, and no spool',
        requiresArg: true,
      })
      .option('untold', {
        type: 'boolean',
        default: false,
        hidden: true,
        describe: 'Leave what a repair has to tell to drain',
      }),
  handler: async ({ spool, check, ledger, untold }) => {
    if (ledger !== undefined && check) {
      throw new Failure(exitCodes.usage, '--check is for a spool, and --ledger names a ledger');
    }
    if (ledger !== undefined) return repairLedger(ledger);
    return check ? look(spool) : repair(spool, untold);
  },
};

async function look(folder: string): Promise<void> {
  const faults = await withSpool(folder, 'operator', async ({ db }) => {
    db.exec('BEGIN'); // Damage may end it.
    const ofSchema = faultsOf(() => schemaFaults(db, spoolFile(folder), spoolSchema));
    return [...ofSchema, ...inspectSpool(db)];
  });
  await print([...new Set(faults)]);
  if (faults.length === 0) return print(`nothing is wrong with the spool ${folder}`);
  throw new Failure(exitCodes.no, `the spool ${folder} is damaged; nothing was changed`);
}

async function repair(folder: string, untold: boolean): Promise<void> {
  await becomeOwnerOfSpool(folder);
  // The lock's file is for drain to make.
  if (!existsSync(spoolFile(folder))) return withSpool(folder, 'operator', async () => {});
  stopSignal(); // Once a new file is in place, whoever stops it is still told what is lost.
  const busy = `a drain is at work on ${folder}: systemctl stop appengine-mailer`;
  await withDrainLock(folder, busy, async () => {
    const rebuild = () => rebuildSpool(folder, Date.now());
    if (untold) return rebuild();
    return told(spoolFile(folder), rebuild, `nothing is wrong with the spool ${folder}`);
  });
}

async function repairLedger(file: string): Promise<void> {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (!found) throw new Failure(exitCodes.spool, `there is no ledger ${file}`);
  if (!found.isFile()) {
    throw new Failure(exitCodes.spool, `the ledger ${file} is not a regular file`);
  }
  await becomeOwner(dirname(file), (error) => ledgerFailure(file, error));
  await withLedgerLock(file, async () =>
    told(file, () => rebuildLedger(file, Date.now()), `nothing is wrong with the ledger ${file}`),
  );
}

/** Repairs a file and tells what came of it, and of an earlier repair that was killed before it told. Throws Failure. */
async function told(file: string, rebuild: () => unknown, nothing: string): Promise<void> {
  const earlier = await tellRepair(file, printAllButSummary);
  rebuild();
  const summary = (await tellRepair(file, printAllButSummary)) ?? earlier;
  if (summary !== undefined) throw new Failure(exitCodes.no, summary);
  await print(nothing);
}

/** What has left the process needs to be told no more. */
async function printAllButSummary(sentences: readonly string[]): Promise<void> {
  await print(sentences.slice(0, -1));
  await printed();
}

/** Runs an action on a ledger that no proxy has. Throws Failure. */
async function withLedgerLock(file: string, action: () => Promise<void>): Promise<void> {
  const lockFile = `${file}.lock`;
  try {
    if (!existsSync(lockFile) && !isDatabase(file)) {
      const why = `it is no database, and has no ${lockFile} of a proxy beside it`;
      throw new Failure(exitCodes.usage, `${file} is no ledger: ${why}`);
    }
    const lock = exclusiveLock(lockFile);
    if (!lock) {
      const stop = 'systemctl stop appengine-mailer-proxy.socket appengine-mailer-proxy';
      const busy = `a proxy is at work on ${file}: ${stop}`;
      throw new Failure(exitCodes.busy, busy);
    }
    try {
      await action();
    } finally {
      lock.release();
    }
  } catch (error) {
    throw error instanceof Failure ? error : ledgerFailure(file, error as Error);
  }
}

function ledgerFailure(file: string, { code = '', message }: NodeJS.ErrnoException): Failure {
  const text = `the ledger ${file} cannot be used: ${message}`;
  if (code.startsWith('SQLITE_BUSY')) return new Failure(exitCodes.busy, text);
  const isDenied = /^E(?:ACCES|PERM)$/.test(code);
  return new Failure(isDenied ? exitCodes.notPermitted : exitCodes.spool, text);
}

function isDatabase(file: string): boolean {
  const magic = Buffer.from('SQLite format 3');
  const start = Buffer.alloc(magic.length);
  const fd = openSync(file, 'r');
  try {
    readSync(fd, start);
  } finally {
    closeSync(fd);
  }
  return start.equals(magic);
}
