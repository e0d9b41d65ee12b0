import type { CommandModule, InferredOptionTypes, Options } from 'yargs';
import { parseDuration, showDuration } from '../../host/duration.ts';
import { environmentOptions } from '../../host/environment-options.ts';
import { addressText } from '../../mail/address-list.ts';
import { drainRuns } from '../../spool/drain-lock.ts';
import { endpointRecord } from '../../spool/endpoint.ts';
import { listMessages, type Listed } from '../../spool/list.ts';
import { messageStates, type MessageState, type Spool } from '../../spool/spool.ts';
import { shownTime, type ShownTime } from '../../spool/shown-time.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print, printJson } from '../print.ts';
import { entryFields } from './entry-json.ts';

const options = {
  spool: spoolOption,
  json: { type: 'boolean', default: false, describe: 'One JSON object a line' },
  state: {
    type: 'string',
    choices: [...messageStates, 'all'] as const,
    describe: 'Only this state; else queued, sending, held and failed',
  },
  sender: { type: 'string', describe: 'Only from this address', requiresArg: true },
  recipient: { type: 'string', describe: 'Only to this address', requiresArg: true },
  'older-than': {
    type: 'string',
    describe: 'Only queued longer ago, such as 1h',
    requiresArg: true,
  },
} as const satisfies Record<string, Options>;

/** `appengine-mailer queue [list]`: the queue, oldest first. */
export const listCommand: CommandModule<object, InferredOptionTypes<typeof options>> = {
  command: ['list', '$0'],
  describe: 'List the queue, oldest first',
  builder: (yargs) => yargs.options({ ...options, ...environmentOptions({ spool: spoolOption }) }),
  handler: async (argv) => {
    const now = Date.now();
    const filter = {
      states: states(argv.state),
      sender: argv.sender,
      recipient: argv.recipient,
      queuedBefore: argv.olderThan === undefined ? undefined : now - parseDuration(argv.olderThan),
    };
    await withSpool(argv.spool, 'operator', async (spool) => {
      const wait = argv.json ? undefined : commonWait(spool);
      const shown = shownTime(spool, now);
      for (const message of listMessages(spool, filter, shown.now)) {
        if (argv.json) await printJson(entryFields(message, shown));
        else await print(entryLines(message, wait, now, shown));
      }
    });
  },
};

function states(state: MessageState | 'all' | undefined): readonly MessageState[] | undefined {
  return state === undefined ? undefined : state === 'all' ? messageStates : [state];
}

/** What everything that is queued waits for, if it is not its time. */
function commonWait(spool: Spool): string | undefined {
  if (!drainRuns(spool.folder)) return 'waits for drain, which does not run';
  return endpointRecord(spool).downSince === null ? undefined : 'waits for the proxy';
}

/** Two lines and one for each recipient, in the manner of mailq. */
function entryLines(
  message: Listed,
  wait: string | undefined,
  now: number,
  shown: ShownTime,
): string[] {
  const { id, eximId, state, sender, size, attempts, lastReason } = message;
  const age = showDuration(now - message.queuedAt);
  const due = message.dueAt === null ? '' : `, ${wait ?? dueText(message.dueAt, shown.now)}`;
  const lines = [
    `${id}  ${state}${due}`,
    `  ${age} old, ${size} bytes, Exim ${eximId}, ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, from ${addressText(sender)}`,
    ...message.recipients.map(({ address, state, status, reason }) => {
      const said = status === null ? '' : ` (${status} ${reason ?? ''})`;
      return `    ${addressText(address)} ${state}${said}`;
    }),
  ];
  if (lastReason !== null && message.recipients.every(({ status }) => status === null)) {
    lines.push(`    last attempt: ${lastReason}`);
  }
  return lines;
}

function dueText(dueAt: number, now: number): string {
  return `next try ${dueAt <= now ? 'now' : `in ${showDuration(dueAt - now)}`}`;
}
