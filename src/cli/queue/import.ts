import { resolve } from 'node:path';
import { command } from '../../host/command.ts';
import { countOf } from '../../host/count-of.ts';
import { showDuration } from '../../host/duration.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { limits } from '../../limits.ts';
import { SpoolFullError } from '../../spool/enqueue.ts';
import { importMessages, type ImportResult } from '../../spool/import.ts';
import type { Spool } from '../../spool/spool.ts';
import { beginTransfer, decideTransfer } from '../../spool/transfer.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';
import { batches } from './batches.ts';
import { TransferReader } from './read-transfer.ts';
import { openedOption, withFile } from './with-file.ts';

/** `appengine-mailer queue import FILE`. */
export const importCommand = command({
  name: 'import',
  describe: 'Take the messages that another queue exported; each file is imported once',
  arguments: { file: { describe: 'A file of `queue export`' } },
  settings: { spool: spoolOption },
  options: { opened: openedOption },
  run: async ({ file, opened, spool: folder }) => {
    await withFile({ file, way: 'read', opened, spool: folder }, async (fd) =>
      withSpool(folder, 'operator', async (spool) => {
        const path = resolve(file);
        await importAll(spool, path, new TransferReader(fd, path));
      }),
    );
  },
});

/** After an interruption the same command goes on. */
async function importAll(spool: Spool, file: string, reader: TransferReader): Promise<void> {
  const { name, exportedAt } = reader.header;
  const { number, what, state } = beginTransfer(spool, 'import', file, name);
  if (what === 'export') {
    await print('imported no messages: the file was exported from this queue');
    return;
  }
  if (state === 'done') {
    await print('imported no messages: the file was imported before');
    return;
  }
  // The wall clock decides only what is held for an operator to look at.
  const transitMs = Math.max(0, Date.now() - exportedAt);
  const counts = importEach(spool, number, reader, transitMs);
  const { imported, held, known, other } = counts;
  await print(
    `imported ${countOf(imported + held, 'message')}, ${held} of them held; ${known} were known before`,
  );
  if (other > 0) {
    throw new CommandError(
      exitCodes.no,
      `${countOf(other, 'message')} not imported, since this queue has other messages with the same id`,
    );
  }
  decideTransfer(spool, number, 'done');
  if (transitMs > limits.renewalMs) {
    throw new CommandError(
      exitCodes.no,
      `the file is ${showDuration(transitMs)} old, and the proxy may have forgotten what it sent: all its messages are held`,
    );
  }
}

/** How many messages were imported, held, known here already, or refused since another message has their id. */
function importEach(
  spool: Spool,
  number: number,
  reader: TransferReader,
  transitMs: number,
): Record<ImportResult, number> {
  const counts: Record<ImportResult, number> = { imported: 0, held: 0, known: 0, other: 0 };
  try {
    for (const messages of batches(reader.messages(), limits.operatorBatch, ({ size }) => size)) {
      const results = importMessages(spool, number, messages, { now: spool.now(), transitMs });
      for (const result of results) counts[result] += 1;
    }
    return counts;
  } catch (error) {
    if (!(error instanceof SpoolFullError)) throw error;
    throw new CommandError(
      exitCodes.busy,
      `${error.message}; import the file again when there is room`,
    );
  } finally {
    spool.wakeDrain();
  }
}
