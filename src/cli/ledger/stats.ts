import type { CommandModule } from 'yargs';
import { countOf } from '../../host/count-of.ts';
import { showDuration } from '../../host/duration.ts';
import type { LedgerStats } from '../../proxy/ledger/read-ledger.ts';
import { ledgerOption, withLedger } from '../../proxy/ledger/with-ledger.ts';
import { print, printJson } from '../print.ts';
import { time } from '../queue/entry-json.ts';

interface Arguments {
  ledger?: string | undefined;
  json: boolean | undefined;
}

/** `appengine-mailer ledger stats`: the ledger in numbers. */
export const ledgerStatsCommand: CommandModule<object, Arguments> = {
  command: 'stats',
  describe: 'Show the ledger in numbers',
  builder: (yargs) =>
    yargs
      .options(ledgerOption())
      .option('json', { type: 'boolean', describe: 'As one JSON object' }),
  handler: async ({ ledger, json }) => {
    const now = Date.now();
    const stats = await withLedger(ledger, async (reader) => Promise.resolve(reader.stats(now)));
    if (json) await printJson(statsFields(stats));
    else await print(statsLines(stats, now));
  },
};

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
