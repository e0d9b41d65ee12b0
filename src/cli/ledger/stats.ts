import { command } from '../../host/command.ts';
import { countOf } from '../../host/count-of.ts';
import { showDuration } from '../../host/duration.ts';
import type { LedgerStats } from '../../proxy/ledger/read-ledger.ts';
import { ledgerOption, withLedger } from '../../proxy/ledger/with-ledger.ts';
import { jsonObjectOption } from '../json-options.ts';
import { print, printJson } from '../print.ts';
import { time } from '../queue/entry-json.ts';

/** `appengine-mailer ledger stats`: the ledger in numbers. */
export const ledgerStatsCommand = command({
  name: 'stats',
  describe: 'Show the ledger in numbers',
  settings: { ledger: ledgerOption },
  options: { json: jsonObjectOption },
  run: async ({ ledger, json }) => {
    const now = Date.now();
    const stats = await withLedger(ledger, async (reader) => reader.stats(now));
    if (json) await printJson(statsFields(stats));
    else await print(statsLines(stats, now));
  },
});

function statsFields({ messages, recipients, ...times }: LedgerStats): object {
  return {
    messages,
    ...recipients,
    oldest_unknown_at: time(times.oldestUnknownAt),
    oldest_posted_at: time(times.oldestPostedAt),
    latest_posted_at: time(times.latestPostedAt),
  };
}

function statsLines({ messages, recipients, ...times }: LedgerStats, now: number): string[] {
  const ago = (at: number) => `${showDuration(now - at)} ago`;
  const { unknown, begun, sent } = recipients;
  const { oldestUnknownAt, oldestPostedAt, latestPostedAt } = times;
  return [
    `${countOf(messages, 'message')}; recipients: ${sent} sent, ${begun} begun, ${unknown} unknown`,
    ...(oldestUnknownAt === null ? [] : [`oldest unknown listed ${ago(oldestUnknownAt)}`]),
    ...(oldestPostedAt === null || latestPostedAt === null
      ? []
      : [`posted from ${ago(oldestPostedAt)} until ${ago(latestPostedAt)}`]),
  ];
}
