import { command } from '../../host/command.ts';
import { countOf } from '../../host/count-of.ts';
import { showDuration, showWait } from '../../host/duration.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { showBytes } from '../../host/show-bytes.ts';
import { addressText } from '../../mail/address-list.ts';
import { drainRuns } from '../../spool/locks.ts';
import { endpointRecord } from '../../spool/endpoint.ts';
import { listMessages, type Listed } from '../../spool/list.ts';
import type { Spool } from '../../spool/spool.ts';
import { shownTime, type ShownTime } from '../../sqlite/shown-time.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { jsonLinesOption } from '../json-options.ts';
import { print, printJson } from '../print.ts';
import { entryFields } from './entry-json.ts';
import { recipientText } from './recipient-text.ts';
import { filterOf, filterOptions, NONE_MATCHES } from './filter.ts';

/** `appengine-mailer queue [list]`: the queue, oldest first. */
export const listCommand = command({
  name: 'list',
  describe: 'List the queue, oldest first',
  isDefault: true,
  settings: { spool: spoolOption },
  options: {
    json: jsonLinesOption,
    ids: { flag: true, excludes: 'json', describe: 'Print only the ids, one on each line' },
    ...filterOptions,
  },
  run: async (argv) => {
    const now = Date.now();
    const filter = filterOf(argv, now);
    await withSpool(argv.spool, 'operator', async (spool) => {
      const wait = argv.json || argv.ids ? undefined : commonWait(spool);
      const shown = shownTime(spool, now);
      let [messages, bytes] = [0, 0];
      for (const message of listMessages(spool, filter ?? {}, shown.now)) {
        messages += 1;
        bytes += message.size;
        if (argv.json) await printJson(entryFields(message, shown));
        else await print(argv.ids ? [message.id] : entryLines(message, wait, now, shown));
      }
      if (filter && messages === 0) throw new CommandError(exitCodes.no, NONE_MATCHES);
      if (!argv.json && !argv.ids) await print([totalText(messages, bytes)]);
    });
  },
});

function totalText(messages: number, bytes: number): string {
  if (messages === 0) return 'no messages';
  return `${countOf(messages, 'message')}, ${showBytes(bytes)}`;
}

/** What all queued messages wait for, if that is not their due time. */
function commonWait(spool: Spool): string | undefined {
  if (!drainRuns(spool.folder)) return 'waits for drain, which is not running';
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
    `  ${age} old, ${size} bytes, Exim ${eximId}, ${countOf(attempts, 'attempt')}, from ${addressText(sender)}`,
    ...message.recipients.map((recipient) => `    ${recipientText(recipient)}`),
  ];
  if (lastReason !== null && message.recipients.every(({ status }) => status === null)) {
    lines.push(`    last attempt: ${lastReason}`);
  }
  return lines;
}

function dueText(dueAt: number, now: number): string {
  return `next attempt ${showWait(dueAt - now).replace('at once', 'now')}`;
}
