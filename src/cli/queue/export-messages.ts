import { fsyncSync } from 'node:fs';
import { noProgress, type Progress } from '../../host/progress.ts';
import { unlessDamaged } from '../../sqlite/is-corruption.ts';
import { limits } from '../../limits.ts';
import { readExported, undoTakeOut, takeOut, type TakeOutResult } from '../../spool/export.ts';
import { latestNumber, listMessages, type Filter } from '../../spool/list.ts';
import type { Spool } from '../../spool/spool.ts';
import type { Transfer } from '../../spool/transfer.ts';
import { batches } from './batches.ts';
import { countOfFilter } from './filter.ts';
import { whenIdle } from './operate-all.ts';
import { TransferWriter } from './write-transfer.ts';

/** How many messages are in the file, for how many recipients, and how many messages stay in the queue. */
export interface Results {
  done: number;
  recipients: number;
  busy: number;
  damaged: number;
}

/** What is exported into which file. */
export interface Export {
  transfer: Pick<Transfer, 'name' | 'number'>;
  fd: number;
  filter: Filter;
  progress?: Progress;
}

/**
 * Writes the messages that the filter chooses, each after it was taken out of the queue: what is in the file is sent from
 * here no more. The file says what it is before the first is taken, and is whole only at its end.
 */
export async function exportMessages(
  spool: Spool,
  { transfer: { name, number }, fd, filter, progress = noProgress }: Export,
): Promise<Results> {
  const writer = new TransferWriter(fd, name, Date.now());
  fsyncSync(fd);
  const results: Results = { done: 0, recipients: 0, busy: 0, damaged: 0 };
  progress.begin(countOfFilter(spool, filter, WAITING));
  const write = (id: string, taken: TakeOutResult) => {
    progress.add(1);
    if (taken === 'busy') results.busy += 1;
    if (taken !== 'done') return;
    const message = readExported(spool, id, spool.now());
    if (isWhole(message.bytes)) {
      writer.add(message);
      results.done += 1;
      results.recipients += message.recipients.length;
    } else {
      undoTakeOut(spool, id, spool.now());
      results.damaged += 1;
    }
  };
  const busy: string[] = [];
  for (const ids of batches(waiting(spool, filter))) {
    const taken = takeOut(spool, number, ids);
    for (const [at, id] of ids.entries()) {
      if (taken[at] === 'busy') busy.push(id);
      else write(id, taken[at] ?? 'missing');
    }
  }
  const deadline = performance.now() + limits.operatorWaitMs;
  for (const id of busy) {
    const step = () => ({ operated: takeOut(spool, number, [id])[0] ?? 'missing' });
    write(id, (await whenIdle(spool, step, deadline)).operated);
  }
  writer.end();
  return results;
}

/** Ids of the messages that wait and that the filter chooses; what arrives meanwhile is left alone. */
function* waiting(spool: Spool, filter: Filter): Generator<string> {
  const { states = WAITING } = filter;
  const chosen = { ...filter, states, upTo: latestNumber(spool) };
  for (const { id } of listMessages(spool, chosen, spool.now())) yield id;
}

const WAITING = ['queued', 'sending', 'held'] as const;

/** Whether the bytes can be read; half a message must not be in the file. */
function isWhole(bytes: Iterable<Buffer>): boolean {
  const read = unlessDamaged(() => {
    for (const part of bytes) void part;
    return true;
  });
  return read === true;
}
