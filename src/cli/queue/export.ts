import { fsyncSync, ftruncateSync } from 'node:fs';
import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { countOf } from '../../host/count-of.ts';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { limits } from '../../limits.ts';
import { confirmExported, takeBack } from '../../spool/export.ts';
import type { Filter } from '../../spool/list.ts';
import type { Spool } from '../../spool/spool.ts';
import { exportLock } from '../../spool/locks.ts';
import {
  beginTransfer,
  decideTransfer,
  exportsInto,
  transferNamed,
  type Transfer,
} from '../../spool/transfer.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';
import { exportMessages } from './export-messages.ts';
import { filterOf, filterOptions, NONE_FITS, type FilterArguments } from './filter.ts';
import { inBatches } from './in-batches.ts';
import { TransferReader } from './read-transfer.ts';
import { openedOption, withFile } from './with-file.ts';

interface Arguments extends FilterArguments {
  file: string;
  confirm: boolean;
  'take-back': boolean;
  opened: boolean;
  spool: string;
}

/** `appengine-mailer queue export FILE`, and how that ends: `--confirm` or `--take-back`. */
export const exportCommand: CommandModule<object, Arguments> = {
  command: 'export <file>',
  describe:
    'Write what waits into a file for another queue, and hold it here until that is confirmed',
  builder: (yargs) =>
    yargs
      .positional('file', { type: 'string', demandOption: true, describe: 'A file, not there yet' })
      .option('confirm', {
        type: 'boolean',
        default: false,
        describe: 'The other queue has imported the file: remove its messages here',
      })
      .option('take-back', {
        type: 'boolean',
        default: false,
        describe: 'No other queue imports the file: send its messages from here',
      })
      .options({ ...filterOptions, ...environmentOptions({ spool: spoolOption }) })
      .option('opened', openedOption)
      .check(({ confirm, 'take-back': back, ...filter }) => {
        const ways = [confirm, back, filterOf(filter, 0) !== undefined];
        if (ways.filter((given) => given).length > 1) {
          throw new CommandError(exitCodes.usage, 'say --confirm, or --take-back, or filters');
        }
        if (filter.state === undefined || /^(?:queued|held)$/.test(filter.state)) return true;
        throw new CommandError(exitCodes.usage, 'only what is queued or held is exported');
      }),
  handler: async ({ file, confirm, 'take-back': back, opened, spool: folder, ...chosen }) => {
    const path = resolve(file);
    if (back) {
      await alone(folder, (spool) => takeBackAll(spool, path));
      return;
    }
    const way = confirm ? 'read' : 'make';
    await withFile({ file, way, opened, spool: folder }, async (fd) =>
      alone(folder, async (spool) => {
        if (confirm) await confirmAll(spool, new TransferReader(fd, path));
        else await exportAll(spool, fd, path, filterOf(chosen, Date.now()));
      }),
    );
  },
};

/** Runs a step of an export on the spool: one at a time over all programs. */
async function alone(folder: string, step: (spool: Spool) => Promise<void>): Promise<void> {
  await withSpool(folder, 'operator', async (spool) => {
    const lock = exportLock(folder);
    if (!lock) {
      throw new CommandError(exitCodes.busy, `another \`queue export\` is at work on ${folder}`);
    }
    try {
      await step(spool);
    } finally {
      lock.release();
    }
  });
}

async function exportAll(
  spool: Spool,
  fd: number,
  file: string,
  filter: Filter | undefined,
): Promise<void> {
  const transfer = beginTransfer(spool, 'export', file);
  const { done, recipients, busy, damaged } = await orUndo(spool, transfer, fd, async () => {
    const results = await exportMessages(spool, transfer, fd, filter ?? {});
    if (results.done === 0) ftruncateSync(fd);
    fsyncSync(fd);
    return results;
  });
  await print(
    done === 0
      ? 'exported no message, and there is no file'
      : `exported ${countOf(done, 'message')} for ${countOf(recipients, 'recipient')} into ${file}; held here until \`queue export\` --confirm or --take-back`,
  );
  if (busy > 0) {
    throw new CommandError(
      exitCodes.busy,
      `${busy} stay here, and are not in the file: they were being sent, or given to Exim, for more than ` +
        `${limits.operatorWaitMs / 1000} s; export them into another file`,
    );
  }
  if (damaged > 0) {
    throw new CommandError(
      exitCodes.spool,
      `${damaged} stay here, and are not in the file, since their bytes are damaged: see \`queue fsck\``,
    );
  }
  if (done === 0 && filter) throw new CommandError(exitCodes.no, NONE_FITS);
}

/** Undoes an export that fails: first nobody can read the file any more, then its messages are back in the queue. */
async function orUndo<Result>(
  spool: Spool,
  { number, file }: Transfer,
  fd: number,
  write: () => Promise<Result>,
): Promise<Result> {
  try {
    return await write();
  } catch (error) {
    const why = `the export into ${file} failed (${(error as Error).message})`;
    let back;
    try {
      ftruncateSync(fd);
      fsyncSync(fd);
      back = returnAll(spool, number);
    } catch {
      throw new CommandError(
        exitCodes.busy,
        `${why}, and its messages are held: take them back with \`queue export --take-back\`, and remove the file`,
      );
    }
    throw new CommandError(
      exitCodes.busy,
      `${why}: ${countOf(back, 'message')} went back into the queue`,
    );
  }
}

/** Decided at once, for good; who is cut off goes on when it is run again. */
async function confirmAll(spool: Spool, reader: TransferReader): Promise<void> {
  const transfer = transferNamed(spool, reader.header.name);
  if (transfer?.what !== 'export') {
    throw new CommandError(exitCodes.no, `the file was not exported from ${spool.folder}`);
  }
  if (transfer.state === 'taken back') {
    throw new CommandError(
      exitCodes.no,
      'this export was taken back: its messages are sent from here',
    );
  }
  decideTransfer(spool, transfer.number, 'confirmed');
  let confirmed = 0;
  for (const messages of inBatches(reader.messages())) {
    confirmed += confirmExported(spool, transfer.number, messages, spool.now());
  }
  spool.wakeDrain();
  await print(`removed ${countOf(confirmed, 'message')} here`);
}

async function takeBackAll(spool: Spool, file: string): Promise<void> {
  const exports = exportsInto(spool, file);
  const open = exports.filter(({ state }) => state !== 'confirmed');
  if (open.length === 0) {
    throw new CommandError(
      exitCodes.no,
      exports.length === 0
        ? `nothing was exported into ${file}: name the file as it was named then (\`queue explain\` tells)`
        : 'this export was confirmed: its messages are in another queue',
    );
  }
  let back = 0;
  for (const { number } of open) back += returnAll(spool, number);
  await print(
    `took back ${countOf(back, 'message')}; remove the file, which no queue may import now`,
  );
}

function returnAll(spool: Spool, number: number): number {
  decideTransfer(spool, number, 'taken back');
  let back = 0;
  for (;;) {
    const some = takeBack(spool, number, spool.now());
    if (some === 0) break;
    back += some;
  }
  spool.wakeDrain();
  return back;
}
