import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../limits.ts';
import { noProgress, type Progress } from '../../host/progress.ts';
import { recoverClaimed } from '../../spool/claim.ts';
import { drainLock } from '../../spool/locks.ts';
import { findMessages, latestNumber, listMessages, type Filter } from '../../spool/list.ts';
import {
  operateEach,
  type OperationResult,
  type OperationOutcome,
  type Verb,
} from '../../spool/operate.ts';
import type { MessageState, Spool } from '../../spool/spool.ts';
import { batches } from './batches.ts';
import { countOfFilter } from './filter.ts';

/** What an operator wants done, and to which messages. */
export interface Operation {
  verb: Verb;
  /** Ids, or Exim's ids; without any, the messages that the filter chooses. */
  names: readonly string[];
  /** Without states, it chooses among those that the verb is for. */
  filter: Filter;
  force: boolean;
  progress?: Progress;
  /** Called before a batch is touched; what it throws ends the operation. With `after` a batch is one message. */
  before?: ((ids: readonly string[]) => Promise<void>) | undefined;
  /** Called with each message for which the verb is done; says what came of it in the end. */
  after?: ((id: string) => Promise<Result>) | undefined;
}

/** `kept`: Exim did not take back what was to be returned; `part`: not for all of its recipients. */
export type Result = OperationResult | 'kept' | 'part';

/** How many messages, for how many recipients, an operation came to each result with, and the ids of the first of them. */
export type Results = Map<Result, { count: number; recipients: number; ids: string[] }>;

/** Operates on everything that is not being sent or given to Exim, then on what was, when its outcome is known. */
export async function operateAll(
  spool: Spool,
  { verb, names, filter, force, progress = noProgress, before, after }: Operation,
): Promise<Results> {
  const results: Results = new Map();
  const end = async ({ operated, recipients }: OperationOutcome, id: string) => {
    const result = operated === 'done' && after ? await after(id) : operated;
    progress.add(1);
    count(results, result, { id, recipients });
  };
  const busy: string[] = [];
  const { ids: chosen, total } = chosenBy(spool, { verb, names, filter });
  progress.begin(total);
  for (const ids of batches(chosen, after && 1)) {
    await before?.(ids);
    const batch = operateEach(spool, ids, { verb, now: spool.now(), force });
    for (const [at, id] of ids.entries()) {
      const outcome = batch[at] ?? MISSING;
      if (outcome.operated === 'busy') busy.push(id);
      else await end(outcome, id);
    }
  }
  spool.wakeDrain();
  const deadline = performance.now() + limits.operatorWaitMs;
  for (const id of busy) {
    const step = () => operateEach(spool, [id], { verb, now: spool.now(), force })[0] ?? MISSING;
    await end(await whenIdle(spool, step, deadline), id);
  }
  spool.wakeDrain();
  return results;
}

function count(
  results: Results,
  result: Result,
  { id, recipients }: { id: string; recipients: number },
): void {
  const sum = results.get(result) ?? { count: 0, recipients: 0, ids: [] };
  results.set(result, sum);
  sum.count += 1;
  sum.recipients += recipients;
  if (sum.count <= limits.namedMessages) sum.ids.push(id);
}

/** Waits for the outcome of what is being sent, or given to Exim; without a drain nothing is sent. */
export async function whenIdle<Step extends { operated: string }>(
  spool: Spool,
  step: () => Step,
  deadline: number,
): Promise<Step> {
  for (;;) {
    const outcome = step();
    if (outcome.operated !== 'busy' || performance.now() > deadline) return outcome;
    const lock = drainLock(spool.folder);
    if (lock) recoverClaimed(spool, spool.now());
    lock?.release();
    await sleep(limits.operatorPollMs);
  }
}

const MISSING: OperationOutcome = { operated: 'missing', recipients: 0 };

/** The messages that are meant, and how many they are, where that is known. */
function chosenBy(
  spool: Spool,
  { verb, names, filter }: Pick<Operation, 'verb' | 'names' | 'filter'>,
): { ids: Iterable<string>; total: number | undefined } {
  if (names.length === 0) {
    const total = countOfFilter(spool, filter, STATES[verb]);
    return { ids: fitting(spool, verb, filter), total };
  }
  const ids = named(spool, names);
  return { ids, total: ids.length };
}

/** Ids of the messages that the filter chooses; what arrives meanwhile is left alone. */
function* fitting(spool: Spool, verb: Verb, filter: Filter): Generator<string> {
  const { states = STATES[verb] } = filter;
  const chosen = { ...filter, states, upTo: latestNumber(spool) };
  for (const { id } of listMessages(spool, chosen, spool.now())) yield id;
}

/** Ids of the messages that an operator named; a name that fits no message is kept, and reported missing. */
function named(spool: Spool, names: readonly string[]): string[] {
  const ids = names.flatMap((name) => {
    const found = findMessages(spool, name, spool.now()).map(({ id }) => id);
    return found.length > 0 ? found : [name];
  });
  return [...new Set(ids)];
}

/** What --all is for. To bring back what failed, after its sender was told, its id or state must be named. */
const STATES: Record<Verb, readonly MessageState[]> = {
  retry: ['queued', 'failed'],
  hold: ['queued', 'sending'],
  release: ['held'],
  bounce: ['queued', 'sending', 'held'],
  delete: ['queued', 'sending', 'held', 'failed'],
  return: ['queued', 'sending', 'held'],
};
