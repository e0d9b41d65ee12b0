import { existsSync } from 'node:fs';
import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { withProgress } from '../../host/progress.ts';
import { anyText } from '../../host/option-values.ts';
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

/** `appengine-mailer queue fsck`: says what is wrong with the spool, and repairs it. */
export const fsckCommand = command({
  name: 'fsck',
  describe: 'Check the spool and repair it',
  settings: { spool: spoolOption },
  options: {
    check: { flag: true, describe: 'Check only; the service may be running' },
    ledger: {
      value: 'FILE',
      parse: anyText,
      describe: 'Repair this ledger of a proxy instead of a spool',
    },
    // Leaves it to drain to tell what a repair found.
    untold: { flag: true },
  },
  run: async ({ spool, check, ledger, untold }) => {
    if (ledger !== undefined && check) {
      throw new CommandError(exitCodes.usage, '--check is for a spool, and not for a ledger');
    }
    if (ledger !== undefined) return repairLedger(ledger);
    return check ? inspect(spool) : repair(spool, untold);
  },
});

async function inspect(folder: string): Promise<void> {
  const faults = await withSpool(folder, 'operator', async ({ db }) => {
    db.exec('BEGIN'); // Damage may end the transaction.
    const ofSchema = faultsOf(() => schemaFaults(db, spoolFile(folder), spoolSchema));
    const ofContent = await withProgress((progress) => inspectSpool(db, progress));
    return [...ofSchema, ...ofContent];
  });
  await print([...new Set(faults)]);
  if (faults.length === 0) return print(`nothing is wrong with the spool ${folder}`);
  throw new CommandError(exitCodes.no, `the spool ${folder} is damaged; nothing was changed`);
}

async function repair(folder: string, untold: boolean): Promise<void> {
  await becomeOwnerOfSpool(folder);
  // The lock's file is for drain to make.
  if (!existsSync(spoolFile(folder))) return withSpool(folder, 'operator', async () => {});
  stopSignal(); // Once a new file is in place, a signal must not keep it from telling what is lost.
  const busy = `a drain is at work on ${folder}: systemctl stop appengine-mailer`;
  await withDrainLock(folder, busy, async () => {
    if (untold) return void rebuildSpool(folder, Date.now());
    const rebuild = async () =>
      withProgress((progress) => rebuildSpool(folder, Date.now(), progress));
    return tellRebuilt(spoolFile(folder), rebuild, `nothing is wrong with the spool ${folder}`);
  });
}
