import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { exclusiveLock } from '../../host/exclusive-lock.ts';
import { exitCodes, Failure } from '../../host/failure.ts';
import type { Rebuilt } from '../../host/rebuild-database.ts';
import { stopSignal } from '../../host/stop-signal.ts';
import { printable } from '../../mail/printable.ts';
import { rebuildLedger } from '../../proxy/rebuild-ledger.ts';
import { inspectSpool } from '../../spool/inspect-spool.ts';
import { rebuildSpool, type Damaged } from '../../spool/rebuild-spool.ts';
import { spoolFile } from '../../spool/spool.ts';
import { spoolOption, withDrainLock, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';

interface Arguments {
  spool: string;
  ledger: string | undefined;
  check: boolean;
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
      }),
  handler: async ({ spool, check, ledger }) => {
    if (ledger !== undefined && check) {
      throw new Failure(exitCodes.usage, '--check is for a spool, and --ledger names a ledger');
    }
    if (ledger !== undefined) return repairLedger(ledger);
    return check ? look(spool) : repair(spool);
  },
};

async function look(folder: string): Promise<void> {
  const faults = await withSpool(folder, 'operator', async ({ db }) => {
    db.exec('BEGIN'); // Damage may end it.
    return inspectSpool(db);
  });
  await report(faults);
  if (faults.length === 0) return print(`nothing is wrong with the spool ${folder}\n`);
  throw new Failure(exitCodes.no, `the spool ${folder} is damaged; nothing was changed`);
}

async function repair(folder: string): Promise<void> {
  // The lock's file is for drain to make.
  if (!existsSync(spoolFile(folder))) return withSpool(folder, 'operator', async () => {});
  stopSignal(); // Once a new file is in place, whoever stops it is still told what is lost.
  const busy = `a drain is at work on ${folder}: systemctl stop appengine-mailer`;
  const { faults, kept, damaged, lost, notes } = await withDrainLock(folder, busy, async () =>
    rebuildSpool(folder, Date.now()),
  );
  if (kept === undefined) return print(`nothing is wrong with the spool ${folder}\n`);
  await report([...faults, ...notes, ...damaged.map(named)]);
  const unnamed = lost - damaged.length;
  if (unnamed > 0) await report([`lost without a trace but their number: ${unnamed} messages`]);
  throw new Failure(
    exitCodes.no,
    `the spool ${folder} was damaged and is repaired; ${lost} messages are lost; ` +
      `the damaged file is ${kept}`,
  );
}

async function repairLedger(file: string): Promise<void> {
  if (!existsSync(file)) throw new Failure(exitCodes.spool, `there is no ledger ${file}`);
  const { faults, kept } = rebuildAlone(file);
  if (kept === undefined) return print(`nothing is wrong with the ledger ${file}\n`);
  await report(faults);
  throw new Failure(
    exitCodes.no,
    `the ledger ${file} was damaged and is repaired: who was posted before and is not known as sent ` +
      'may have been, is sent to when posted again, and then listed as unknown; ' +
      `the damaged file is ${kept}`,
  );
}

/** Rebuilds a ledger that no proxy has. Throws Failure. */
function rebuildAlone(file: string): Rebuilt {
  const lockFile = `${file}.lock`;
  try {
    if (!existsSync(lockFile) && !isDatabase(file)) {
      const why = `it is no database, and has no ${lockFile} of a proxy beside it`;
      throw new Failure(exitCodes.usage, `${file} is no ledger: ${why}`);
    }
    const lock = exclusiveLock(lockFile);
    if (!lock) {
      const busy = `a proxy is at work on ${file}: systemctl stop appengine-mailer-proxy`;
      throw new Failure(exitCodes.busy, busy);
    }
    try {
      return rebuildLedger(file, Date.now());
    } finally {
      lock.release();
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    const { code = '', message } = error as NodeJS.ErrnoException;
    const text = `the ledger ${file} cannot be used: ${message}`;
    if (code.startsWith('SQLITE_BUSY')) throw new Failure(exitCodes.busy, text);
    throw new Failure(
      /^E(?:ACCES|PERM)$/.test(code) ? exitCodes.notPermitted : exitCodes.spool,
      text,
    );
  }
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

function named({ id, eximId, sender, recipients, fault }: Damaged): string {
  const from = sender === undefined ? '' : ` from <${sender}>`;
  const to =
    recipients.length === 0 ? '' : ` to ${recipients.map((each) => `<${each}>`).join(', ')}`;
  const name = `${id ?? 'of an unknown id'} (Exim's ${eximId ?? 'is unknown'})`;
  return `lost: message ${name}${from}${to}: ${fault}`;
}

async function report(sentences: readonly string[]): Promise<void> {
  for (const sentence of new Set(sentences)) await print(`${printable(sentence)}\n`);
}
