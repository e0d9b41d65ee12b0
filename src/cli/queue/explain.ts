import { command } from '../../host/command.ts';
import { showDuration } from '../../host/duration.ts';
import { localTime } from '../../host/local-time.ts';
import { addressText } from '../../mail/address-list.ts';
import { drainRuns } from '../../spool/locks.ts';
import { endpointRecord } from '../../spool/endpoint.ts';
import { historyOf, type HistoryEvent } from '../../spool/history.ts';
import type { Listed } from '../../spool/list.ts';
import { unansweredBy } from '../../spool/posted-to.ts';
import { hasPendingReport } from '../../spool/report.ts';
import { shownTime, type ShownTime } from '../../sqlite/shown-time.ts';
import type { Spool } from '../../spool/spool.ts';
import { transferOf } from '../../spool/transfer.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { jsonObjectOption } from '../json-options.ts';
import { print, printJson } from '../print.ts';
import { entryFields, fallbackFields, time } from './entry-json.ts';
import { explain, type Facts } from './explanation.ts';
import { idArgument, namedMessages } from './named-messages.ts';
import { recipientText } from './recipient-text.ts';
import { subjectOf } from './subject.ts';

/** `appengine-mailer queue explain ID`: what happened to a message, why it waits, and what comes next. */
export const explainCommand = command({
  name: 'explain',
  describe: 'Tell what happened to one message, why it waits, and what happens next',
  arguments: { id: idArgument },
  settings: { spool: spoolOption },
  options: { json: jsonObjectOption },
  run: async ({ id, spool: folder, json }) => {
    await withSpool(folder, 'operator', async (spool) => {
      const shown = shownTime(spool, Date.now());
      for (const [nth, message] of namedMessages(spool, id, shown.now).entries()) {
        const facts = factsOf(spool, message, shown);
        const subject = subjectOf(spool, message);
        if (json) {
          await printJson(storyFields(facts, subject));
          continue;
        }
        if (nth > 0) await print('');
        await print(storyLines(facts, subject));
      }
    });
  },
});

/** What the spool knows of a message, to explain it. */
export function factsOf(spool: Spool, message: Listed, shown: ShownTime): Facts {
  return {
    message,
    history: historyOf(spool, message.seq),
    endpoint: endpointRecord(spool),
    unansweredBy: unansweredBy(spool, message.seq),
    reportOwed: hasPendingReport(spool, message.seq),
    drainRuns: drainRuns(spool.folder),
    shown,
    transfer: transferOf(spool, message.seq),
  };
}

function storyFields(facts: Facts, subject: string | null): object {
  const { message, history, endpoint, shown } = facts;
  const { why, next, nextAt, nextRest = '' } = explain(facts, time);
  return {
    ...entryFields(message, shown),
    subject,
    history: history.map(({ number, at, what, status, reason }) => ({
      number,
      at: time(at),
      event: what,
      status,
      reason,
    })),
    proxy_down_since: time(shown.wall(endpoint.downSince)),
    proxy_reason: endpoint.reason,
    proxy_asked_at: time(shown.wall(endpoint.asksAt)),
    ...fallbackFields(endpoint, shown.wall),
    unanswered_by: facts.unansweredBy?.url ?? null,
    why,
    next: `${next}${nextRest}`,
    next_at: time(shown.wall(nextAt)),
  };
}

function storyLines(facts: Facts, subject: string | null): string[] {
  const { message, history, shown, transfer } = facts;
  const { why, next, nextAt, nextRest = '' } = explain(facts, localTime);
  const lines = [
    `${message.id} (Exim ${message.eximId}) is ${message.state}`,
    `from ${addressText(message.sender)}, ${message.size} bytes${subject === null ? '' : `, subject: ${subject}`}`,
    ...message.recipients.map((recipient) => `  to ${recipientText(recipient)}`),
    `${localTime(message.queuedAt)} taken from Exim`,
    ...(transfer?.what === 'import'
      ? [`${localTime(transfer.at)} imported from ${transfer.file}, from another queue`]
      : []),
    ...historyLines(history),
    `why: ${why}`,
    `next: ${next}${nextAt === null ? '' : ` ${when(nextAt, shown)}`}${nextRest}`,
  ];
  if (message.expiresAt !== null && history.length > 0) {
    lines.push(`expires: not before ${localTime(shown.wall(message.expiresAt))}`);
  }
  return lines;
}

/** One line an event; what happens again and again is one line, too. */
function historyLines(history: readonly HistoryEvent[]): string[] {
  const runs: { text: string; first: HistoryEvent; last: HistoryEvent }[] = [];
  for (const event of history) {
    const text = eventText(event);
    const run = runs.at(-1);
    if (run?.text === text && run.last.number + 1 === event.number) run.last = event;
    else runs.push({ text, first: event, last: event });
  }
  return runs.flatMap(({ text, first, last }, nth) => {
    const missing = first.number - (runs[nth - 1]?.last.number ?? 0) - 1;
    const times = last.number - first.number + 1;
    const until = times > 1 ? ` until ${localTime(last.at)}, ${times} times:` : '';
    const line = `${localTime(first.at)}${until} ${text}`;
    return missing > 0 ? [`  (${missing} more, not kept)`, line] : [line];
  });
}

function eventText({ what, status, reason }: HistoryEvent): string {
  if (what === 'attempt') return `attempt: ${status} ${reason}`;
  if (what === 'postponed') return `attempt, not counted: ${status} ${reason}`;
  return what === 'kept' ? `${OPERATED.kept}: ${reason}` : OPERATED[what];
}

const OPERATED = {
  retry: 'an operator retried it',
  hold: 'an operator held it',
  release: 'an operator released it',
  bounce: 'an operator bounced it',
  delete: 'an operator deleted it',
  return: 'an operator began to return it to Exim',
  returned: 'Exim has taken it back',
  kept: 'Exim did not take it back',
  reported: 'its sender was told of the failure',
  warned: 'its sender was told of the delay',
} as const;

function when(at: number, { now, wall }: ShownTime): string {
  return at <= now ? 'now' : `at ${localTime(wall(at))} (in ${showDuration(at - now)})`;
}
