import { command } from '../../host/command.ts';
import { parseDuration, showDuration } from '../../host/duration.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { showBytes } from '../../host/show-bytes.ts';
import { shownTime, type ShownTime } from '../../sqlite/shown-time.ts';
import { stats, type Counters, type Stats } from '../../spool/stats.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { jsonObjectOption } from '../json-options.ts';
import { print, printJson } from '../print.ts';
import { fallbackText } from '../../spool/endpoint.ts';
import { fallbackFields, time } from './entry-json.ts';

/** `appengine-mailer queue stats`: the queue in numbers; with --max-age an answer for monitoring. */
export const statsCommand = command({
  name: 'stats',
  describe: 'Show the queue in numbers',
  settings: { spool: spoolOption },
  options: {
    json: jsonObjectOption,
    'max-age': {
      value: 'DURATION',
      parse: parseDuration,
      describe: 'Exit with 1 when a message has waited longer, such as 1h',
    },
  },
  run: async ({ spool: folder, json, maxAge: maxAgeMs = Infinity }) => {
    const now = Date.now();
    const { found, shown } = await withSpool(folder, 'operator', async (spool) => ({
      found: stats(spool),
      shown: shownTime(spool, now),
    }));
    if (json) await printJson(statsFields(found, shown));
    else await print(statsLines(found, shown, now));
    const ageMs = found.oldestQueuedAt === null ? 0 : now - found.oldestQueuedAt;
    if (ageMs > maxAgeMs) {
      throw new CommandError(
        exitCodes.no,
        `the oldest message has waited for ${showDuration(ageMs)}`,
      );
    }
  },
});

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
    ...fallbackFields(endpoint, wall),
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
      : `the proxy has been down for ${showDuration(shown.now - endpoint.downSince)}: ${endpoint.reason ?? ''}`,
    ...(endpoint.fallback
      ? [
          `for ${showDuration(shown.now - endpoint.fallback.since)} ${fallbackText(endpoint.fallback)}`,
        ]
      : []),
  ];
}
