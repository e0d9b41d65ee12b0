import type { CommandModule } from 'yargs';
import { parseDuration, showDuration } from '../../host/duration.ts';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { showBytes } from '../../host/show-bytes.ts';
import { shownTime, type ShownTime } from '../../sqlite/shown-time.ts';
import { stats, type Counters, type Stats } from '../../spool/stats.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print, printJson } from '../print.ts';
import { time } from './entry-json.ts';

interface Arguments {
  spool: string;
  json: boolean;
  'max-age': string | undefined;
  maxAge?: string | undefined;
}

/** `appengine-mailer queue stats`: the queue in numbers; with --max-age an answer for monitoring. */
export const statsCommand: CommandModule<object, Arguments> = {
  command: 'stats',
  describe: 'Show the queue in numbers',
  builder: (yargs) =>
    yargs
      .options(environmentOptions({ spool: spoolOption }))
      .option('json', { type: 'boolean', default: false, describe: 'As one JSON object' })
      .option('max-age', {
        type: 'string',
        describe: 'Exit with 1 when a message waits longer, such as 1h',
        requiresArg: true,
      }),
  handler: async (argv) => {
    const now = Date.now();
    const maxAgeMs = argv.maxAge === undefined ? Infinity : parseDuration(argv.maxAge);
    const { found, shown } = await withSpool(argv.spool, 'operator', async (spool) => ({
      found: stats(spool),
      shown: shownTime(spool, now),
    }));
    if (argv.json) await printJson(statsFields(found, shown));
    else await print(statsLines(found, shown, now));
    const ageMs = found.oldestQueuedAt === null ? 0 : now - found.oldestQueuedAt;
    if (ageMs > maxAgeMs) {
      throw new CommandError(
        exitCodes.no,
        `the oldest message has waited for ${showDuration(ageMs)}`,
      );
    }
  },
};

function statsFields(
  { counters, bytes, oldestQueuedAt, endpoint }: Stats,
  { wall }: ShownTime,
): object {
  return {
    ...counters,
    bytes,
    oldest_queued_at: time(oldestQueuedAt),
    proxy_down_since: time(wall(endpoint.downSince)),
    proxy_reason: endpoint.reason,
    last_passed_at: time(endpoint.passedAt),
  };
}

function statsLines(
  { counters, bytes, oldestQueuedAt, endpoint }: Stats,
  shown: ShownTime,
  now: number,
): string[] {
  const ago = (ms: number | null) => (ms === null ? 'never' : `${showDuration(now - ms)} ago`);
  const { accepted: _accepted, ...states } = counters;
  const names = (Object.keys(states) as (keyof Counters)[]).filter((name) => counters[name] > 0);
  const list = (said: (name: keyof Counters) => string) =>
    (['accepted', ...names] as const).map((name) => `${name} ${said(name)}`).join(', ');
  return [
    list((name) => `${counters[name]}`),
    `size: ${list((name) => showBytes(bytes[name]))}`,
    ...(oldestQueuedAt === null ? [] : [`oldest queued ${ago(oldestQueuedAt)}`]),
    endpoint.downSince === null
      ? `last post that passed: ${ago(endpoint.passedAt)}`
      : `the proxy is down for ${showDuration(shown.now - endpoint.downSince)}: ${endpoint.reason ?? ''}`,
  ];
}
