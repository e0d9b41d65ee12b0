import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandModule } from 'yargs';
import { showDuration } from '../../host/duration.ts';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, Failure } from '../../host/failure.ts';
import { limits } from '../../mail/limits.ts';
import { recoverClaimed } from '../../spool/claim.ts';
import { drainLock } from '../../spool/drain-lock.ts';
import { findMessages, listMessages } from '../../spool/list.ts';
import { operate, type Operated, type Verb } from '../../spool/operate.ts';
import type { Spool } from '../../spool/spool.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';

interface Arguments {
  ids: string[];
  all: boolean;
  force: boolean;
  spool: string;
}

/** `appengine-mailer queue retry|hold|release|delete ID…|--all`. */
export const operateCommands: CommandModule<object, Arguments>[] = [
  operateCommand('retry', 'Send now, with a new lifetime; also what failed, while it has its body'),
  operateCommand('hold', 'Keep from being sent until it is released'),
  operateCommand('release', 'Send what was held, with a new lifetime'),
  operateCommand('delete', 'Remove without sending and without a bounce'),
];

function operateCommand(verb: Verb, describe: string): CommandModule<object, Arguments> {
  return {
    command: `${verb} [ids..]`,
    describe,
    builder: (yargs) =>
      yargs
        .positional('ids', {
          type: 'string',
          array: true,
          default: [],
          describe: 'Ids of messages, or their Exim ids',
        })
        .option('all', { type: 'boolean', default: false, describe: 'All that this fits' })
        .option('force', {
          type: 'boolean',
          default: false,
          describe: 'Even when the proxy may have forgotten that it was sent',
        })
        .options(environmentOptions({ spool: spoolOption }))
        .check(({ ids, all }) => {
          if ((ids.length === 0) !== all) {
            throw new Failure(exitCodes.usage, 'name an id, or --all');
          }
          return true;
        }),
    handler: async ({ ids: names, all, force, spool: folder }) => {
      await withSpool(folder, 'operator', async (spool) => {
        const batches = all ? fitting(spool, verb) : [named(spool, names)];
        await report(verb, await operateAll(spool, verb, batches, force), all);
      });
    },
  };
}

/** Operates on everything that is not being sent, then on what was, when its outcome is known. */
async function operateAll(
  spool: Spool,
  verb: Verb,
  batches: Iterable<readonly string[]>,
  force: boolean,
): Promise<Map<Operated, number>> {
  const counts = new Map<Operated, number>();
  const count = (operated: Operated) => counts.set(operated, (counts.get(operated) ?? 0) + 1);
  const busy: string[] = [];
  for (const ids of batches) {
    spool.transaction(() => {
      for (const id of ids) {
        const operated = operate(spool, verb, id, Date.now(), force);
        if (operated === 'busy') busy.push(id);
        else count(operated);
      }
    });
  }
  spool.wakeDrain();
  const deadline = performance.now() + limits.operatorWaitMs;
  for (const id of busy) count(await operateWhenIdle(spool, verb, id, force, deadline));
  spool.wakeDrain();
  return counts;
}

/** Waits for the outcome of what is being sent; without a drain there is none to wait for. */
async function operateWhenIdle(
  spool: Spool,
  verb: Verb,
  id: string,
  force: boolean,
  deadline: number,
): Promise<Operated> {
  for (;;) {
    const operated = operate(spool, verb, id, Date.now(), force);
    if (operated !== 'busy' || performance.now() > deadline) return operated;
    const lock = drainLock(spool.folder);
    if (lock) {
      recoverClaimed(spool, Date.now());
      lock.release();
    } else {
      await sleep(limits.operatorPollMs);
    }
  }
}

/** Ids of the messages that the verb fits, in batches; what arrives meanwhile is left alone. */
function* fitting(spool: Spool, verb: Verb): Generator<string[]> {
  const now = Date.now();
  let ids: string[] = [];
  for (const { id } of listMessages(spool, { states: STATES[verb], queuedBefore: now }, now)) {
    ids.push(id);
    if (ids.length < limits.operatorBatch) continue;
    yield ids;
    ids = [];
  }
  yield ids;
}

/** Ids of the messages that an operator named; a name that is none stays, and is reported missing. */
function named(spool: Spool, names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const ids = findMessages(spool, name, Date.now()).map(({ id }) => id);
    return ids.length > 0 ? ids : [name];
  });
}

const STATES = {
  retry: ['queued', 'failed'],
  hold: ['queued', 'sending'],
  release: ['held'],
  delete: ['queued', 'sending', 'held', 'failed'],
} as const;

async function report(verb: Verb, counts: Map<Operated, number>, all: boolean): Promise<void> {
  const count = (operated: Operated) => counts.get(operated) ?? 0;
  await print(`${verb}: ${count('done')} done\n`);
  if (count('busy') > 0) {
    throw new Failure(
      exitCodes.busy,
      `${count('busy')} being sent for more than ${limits.operatorWaitMs / 1000} s; try again later`,
    );
  }
  if (count('old') > 0) {
    throw new Failure(
      exitCodes.no,
      `${count('old')} first posted more than ${showDuration(limits.renewalMs)} ago: the proxy may have forgotten that it sent ` +
        'them, and would send them twice; say --force if you are sure',
    );
  }
  if (all) return;
  if (count('missing') > 0)
    throw new Failure(exitCodes.no, `no such message (${count('missing')} of the ids)`);
  if (count('unfit') > 0) {
    throw new Failure(exitCodes.no, `${count('unfit')} not in a state to ${verb}`);
  }
}
