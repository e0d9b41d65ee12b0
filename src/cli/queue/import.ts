import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { countOf } from '../../host/count-of.ts';
import { showDuration } from '../../host/duration.ts';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { limits } from '../../limits.ts';
import { SpoolFullError } from '../../spool/enqueue.ts';
import { importMessages, type ImportResult } from '../../spool/import.ts';
import type { Spool } from '../../spool/spool.ts';
import { beginTransfer, decideTransfer } from '../../spool/transfer.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';
import { inBatches } from './in-batches.ts';
import { TransferReader } from './read-transfer.ts';
import { openedOption, withFile } from './with-file.ts';

interface Arguments {
  file: string;
  opened: boolean;
  spool: string;
}

/** `appengine-mailer queue import FILE`. */
export const importCommand: CommandModule<object, Arguments> = {
  command: 'import <file>',
  describe: 'Take what another queue exported; a file is taken once',
  builder: (yargs) =>
    yargs
      .positional('file', {
        type: 'string',
        demandOption: true,
        describe: 'A file of `queue export`',
      })
      .options(environmentOptions({ spool: spoolOption }))
      .option('opened', openedOption),
  handler: async ({ file, opened, spool: folder }) => {
    await withFile({ file, way: 'read', opened, spool: folder }, async (fd) =>
      withSpool(folder, 'operator', async (spool) => {
        const path = resolve(file);
        await importAll(spool, path, new TransferReader(fd, path));
      }),
    );
  },
};

/** Who is cut off goes on when it is run again. */
async function importAll(spool: Spool, file: string, reader: TransferReader): Promise<void> {
  const { name, exportedAt } = reader.header;
  const { number, what, state } = beginTransfer(spool, 'import', file, name);
  if (what === 'export') {
    await print('imported no message, since the file was exported from this queue');
    return;
  }
  if (state === 'done') {
    await print('imported no message, since the file was imported before');
    return;
  }
  // The wall clock decides only what is held for an operator to look at.
  const transitMs = Math.max(0, Date.now() - exportedAt);
  const counts: Record<ImportResult, number> = { imported: 0, held: 0, known: 0, other: 0 };
  try {
    for (const messages of inBatches(reader.messages())) {
      const results = importMessages(spool, number, messages, { now: spool.now(), transitMs });
      for (const result of results) counts[result] += 1;
    }
  } catch (error) {
    if (!(error instanceof SpoolFullError)) throw error;
    throw new CommandError(
      exitCodes.busy,
      `${error.message}; import the file again when there is room`,
    );
  } finally {
    spool.wakeDrain();
  }
  const { imported, held, known, other } = counts;
  await print(
    `imported ${countOf(imported + held, 'message')}, ${held} of them held; ${known} were here before`,
  );
  if (other > 0) {
    throw new CommandError(
      exitCodes.no,
      `${other} were not imported: this queue has other messages of the same id`,
    );
  }
  decideTransfer(spool, number, 'done');
  if (transitMs > limits.renewalMs) {
    throw new CommandError(
      exitCodes.no,
      `the file is ${showDuration(transitMs)} old, so that the proxy may have forgotten what it sent: all is held`,
    );
  }
}
