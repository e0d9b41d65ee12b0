import { fsyncSync, ftruncateSync } from 'node:fs';
import { resolve } from 'node:path';
import { command } from '../../host/command.ts';
import { countOf } from '../../host/count-of.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { noProgress, withProgress } from '../../host/progress.ts';
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
import { batches } from './batches.ts';
import { exportMessages } from './export-messages.ts';
import { filterOf, filterOptions, NONE_MATCHES } from './filter.ts';
import { TransferReader } from './read-transfer.ts';
import { openedOption, withFile } from './with-file.ts';

/** `appengine-mailer queue export FILE`, and how that ends: `--confirm` or `--take-back`. */
export const exportCommand = command({
  name: 'export',
  describe: 'Write waiting messages into a file for another queue; they are held until you confirm',
  arguments: { file: { describe: 'A new file' } },
  settings: { spool: spoolOption },
  options: {
    confirm: {
      flag: true,
      describe: 'The other queue has imported the file: remove its messages from this queue',
    },
    'take-back': {
      flag: true,
      describe: 'No other queue will import the file: send its messages from this queue',
    },
    ...filterOptions,
    opened: openedOption,
  },
  run: async ({ file, confirm, takeBack: back, opened, spool: folder, ...chosen }) => {
    requireOneWay([confirm, back, filterOf(chosen, 0) !== undefined]);
    if (chosen.state !== undefined && !/^(?:queued|held)$/.test(chosen.state)) {
      throw new CommandError(exitCodes.usage, 'only queued and held messages can be exported');
    }
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
});

function requireOneWay(given: readonly boolean[]): void {
  if (given.filter((each) => each).length <= 1) return;
  throw new CommandError(exitCodes.usage, 'use --confirm, or --take-back, or filters');
}

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
    const results = await withProgress(async (progress) =>
      exportMessages(spool, { transfer, fd, filter: filter ?? {}, progress }),
    );
    if (results.done === 0) ftruncateSync(fd);
    fsyncSync(fd);
    return results;
  });
  await print(
    done === 0
      ? 'exported no messages, and made no file'
      : `exported ${countOf(done, 'message')} for ${countOf(recipients, 'recipient')} into ${file}; they stay held here until you ` +
          `run \`queue export --confirm ${file}\`, after another queue has imported the file, or ` +
          `\`queue export --take-back ${file}\``,
  );
  if (busy > 0) {
    throw new CommandError(
      exitCodes.busy,
      `${countOf(busy, 'message')} not exported, since they were being sent, or given to Exim, for more than ` +
        `${limits.operatorWaitMs / 1000} s; export them into another file`,
    );
  }
  if (damaged > 0) {
    throw new CommandError(
      exitCodes.spool,
      `${countOf(damaged, 'message')} not exported, since their bytes are damaged: see \`queue fsck\``,
    );
  }
  if (done === 0 && filter) throw new CommandError(exitCodes.no, NONE_MATCHES);
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

/** The decision is one commit, and final; after an interruption the same command goes on. */
async function confirmAll(spool: Spool, reader: TransferReader): Promise<void> {
  const transfer = transferNamed(spool, reader.header.name);
  if (transfer?.what !== 'export') {
    throw new CommandError(exitCodes.no, `the file was not exported from ${spool.folder}`);
  }
  if (transfer.state === 'taken back') {
    throw new CommandError(
      exitCodes.no,
      'this export was taken back: its messages are sent from this queue',
    );
  }
  decideTransfer(spool, transfer.number, 'confirmed');
  const confirmed = await withProgress((progress) => {
    progress.begin(undefined);
    let done = 0;
    for (const messages of batches(reader.messages(), limits.operatorBatch, ({ size }) => size)) {
      done += confirmExported(spool, transfer.number, messages, spool.now());
      progress.add(messages.length);
    }
    return done;
  });
  spool.wakeDrain();
  await print(`removed ${countOf(confirmed, 'message')} from this queue`);
}

async function takeBackAll(spool: Spool, file: string): Promise<void> {
  const exports = exportsInto(spool, file);
  const open = exports.filter(({ state }) => state !== 'confirmed');
  if (open.length === 0) {
    throw new CommandError(
      exitCodes.no,
      exports.length === 0
        ? `nothing was exported into ${file}: use the name that the file had then (see \`queue explain\`)`
        : 'this export was confirmed: its messages are in another queue',
    );
  }
  const back = await withProgress((progress) => {
    progress.begin(undefined);
    let done = 0;
    for (const { number } of open) done += returnAll(spool, number, progress);
    return done;
  });
  await print(
    `took back ${countOf(back, 'message')}; remove the file, since no queue may import it now`,
  );
}

function returnAll(spool: Spool, number: number, progress = noProgress): number {
  decideTransfer(spool, number, 'taken back');
  let back = 0;
  for (;;) {
    const some = takeBack(spool, number, spool.now());
    if (some === 0) break;
    progress.add(some);
    back += some;
  }
  spool.wakeDrain();
  return back;
}
