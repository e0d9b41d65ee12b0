import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandModule } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, Failure } from '../../host/failure.ts';
import { limits } from '../../mail/limits.ts';
import { recoverClaimed } from '../../spool/claim.ts';
import { drainLock } from '../../spool/drain-lock.ts';
import { listMessages } from '../../spool/list.ts';
import { openSpool, spoolOption } from '../../spool/open-spool.ts';
import { operate, type Operated, type Verb } from '../../spool/operate.ts';
import type { Spool } from '../../spool/spool.ts';
import { print } from '../print.ts';

interface Arguments {
  id: string | undefined;
  all: boolean;
  force: boolean;
  spool: string;
}

/** `appengine-mailer queue retry|hold|release|delete ID|--all`. */
export const operateCommands: CommandModule<object, Arguments>[] = [
  operateCommand('retry', 'Send now, with a new lifetime; also what failed, while it has its body'),
  operateCommand('hold', 'Keep from being sent until it is released'),
  operateCommand('release', 'Send what was held, with a new lifetime'),
  operateCommand('delete', 'Remove without sending and without a bounce'),
];

function operateCommand(verb: Verb, describe: string): CommandModule<object, Arguments> {
  return {
    command: `${verb} [id]`,
    describe,
    builder: (yargs) =>
      yargs
        .positional('id', { type: 'string', describe: 'Id of a message' })
        .option('all', { type: 'boolean', default: false, describe: 'All that this fits' })
        .option('force', {
          type: 'boolean',
          default: false,
          describe: 'Even when the proxy may have forgotten that it was sent',
        })
        .options(environmentOptions({ spool: spoolOption }))
        .check(({ id, all }) => {
          if ((id === undefined) !== all)
            throw new Failure(exitCodes.usage, 'name an id, or --all');
          return true;
        }),
    handler: async ({ id, all, force, spool: folder }) => {
      const spool = openSpool(folder, 'operator');
      const ids = all ? fitting(spool, verb) : [id ?? ''];
      const counts = new Map<Operated, number>();
      const deadline = performance.now() + limits.operatorWaitMs;
      for (const each of ids) {
        const operated = await operateWhenIdle(spool, verb, each, force, deadline);
        counts.set(operated, (counts.get(operated) ?? 0) + 1);
      }
      spool.wakeDrain();
      spool.close();
      await report(verb, counts, all);
    },
  };
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

/** Ids of the messages that the verb fits, as they are now: what arrives meanwhile is left alone. */
function fitting(spool: Spool, verb: Verb): string[] {
  const states = STATES[verb];
  return Array.from(listMessages(spool, { states }, Date.now()), ({ id }) => id);
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
      `${count('old')} first posted more than 25 days ago: the proxy may have forgotten that it sent ` +
        'them, and would send them twice; say --force if you are sure',
    );
  }
  if (count('missing') > 0 && !all) throw new Failure(exitCodes.no, 'no such message');
  if (count('unfit') > 0 && !all) throw new Failure(exitCodes.no, `not in a state to ${verb}`);
}
