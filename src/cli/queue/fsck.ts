import { existsSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { faultsOf } from '../../sqlite/is-corruption.ts';
import { schemaFaults } from '../../sqlite/schema-faults.ts';
import { stopSignal } from '../../host/stop-signal.ts';
import { inspectSpool } from '../../spool/recover/inspect-spool.ts';
import { rebuildSpool } from '../../spool/recover/rebuild-spool.ts';
import { spoolFile, spoolSchema } from '../../spool/spool.ts';
import {
  becomeOwnerOfSpool,
  spoolOption,
  withDrainLock,
  withSpool,
} from '../../spool/with-spool.ts';
import { repairLedger } from '../ledger/repair-ledger.ts';
import { print } from '../print.ts';
import { tellRebuilt } from '../tell-rebuilt.ts';

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
      throw new CommandError(
        exitCodes.usage,
        '--check is for a spool, and --ledger names a ledger',
      );
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
  throw new CommandError(exitCodes.no, `the spool ${folder} is damaged; nothing was changed`);
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
    return tellRebuilt(spoolFile(folder), rebuild, `nothing is wrong with the spool ${folder}`);
  });
}
