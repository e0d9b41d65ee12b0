import { command } from '../../host/command.ts';
import { countOf } from '../../host/count-of.ts';
import { showDuration, parseDuration } from '../../host/duration.ts';
import { localTime } from '../../host/local-time.ts';
import { showBytes } from '../../host/show-bytes.ts';
import { cut } from '../../mail/cut.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { barPlot, htmlDocument, keyOf, markup, table } from '../../watch/html.ts';
import type { Ranked } from '../../watch/ranking.ts';
import { queueReport, type NotableMessage, type QueueReport } from '../../watch/report.ts';
import { jsonObjectOption } from '../json-options.ts';
import { print, printBytes, printJson } from '../print.ts';
import { time } from './entry-json.ts';

/** `appengine-mailer queue report`: what happened in the last day, or another time. */
export const reportCommand = command({
  name: 'report',
  describe: 'Report what happened: totals, hours, senders, domains, reasons, times',
  settings: { spool: spoolOption },
  options: {
    since: {
      value: 'DURATION',
      parse: parseDuration,
      default: '24h',
      describe: 'How far back it goes, at most 30d',
    },
    json: { ...jsonObjectOption, excludes: 'html' },
    html: { flag: true, describe: 'Print one page of HTML' },
  },
  run: async ({ spool: folder, since: sinceMs, json, html }) => {
    const now = Date.now();
    const report = await withSpool(folder, 'operator', async (spool) =>
      queueReport(spool, now - sinceMs, now),
    );
    if (json) await printJson(reportFields(report));
    else if (html) await printBytes(Buffer.from(reportPage(report)));
    else await print(reportLines(report));
  },
});

const SHARES = [0.5, 0.9, 0.95, 0.99, 1] as const;

/** The time below which such a share of deliveries was, in seconds. */
function percentile({ latencies }: QueueReport, share: number): number | undefined {
  return latencies[Math.max(0, Math.ceil(share * latencies.length) - 1)];
}

function reportFields(report: QueueReport): object {
  const { since, until, total, hours, slowest, largest } = report;
  const shares = SHARES.map((share) => [`p${share * 100}`, percentile(report, share) ?? null]);
  return {
    since: time(since),
    until: time(until),
    ...total,
    hours: hours.map(({ at, ...counts }) => ({ at: time(at), ...counts })),
    senders: report.senders.top.map(named),
    domains: report.domains.top.map(named),
    deferrals: report.deferrals.top.map(named),
    failures: report.failures.top.map(named),
    seconds: Object.fromEntries(shares) as object,
    slowest: slowest.map(({ value, ...message }) => ({ ...message, seconds: value })),
    largest: largest.map(({ value, ...message }) => ({ ...message, size: value })),
  };
}

/** The parts of a report that are lists: what they are called, and their rows. */
function parts(report: QueueReport): [title: string, rows: (readonly [string, string])[]][] {
  return [
    ['Senders, by messages', report.senders.top.map(counted)],
    ['Domains of recipients that were sent or failed', report.domains.top.map(counted)],
    ['Deferrals by reason', report.deferrals.top.map(counted)],
    ['Failures by reason', report.failures.top.map(counted)],
    [
      'Time to delivery, by shares of recipients',
      SHARES.flatMap((share) => {
        const value = percentile(report, share);
        return value === undefined ? [] : [[`${share * 100} %`, seconds(value)] as const];
      }),
    ],
    ['Slowest', notable(report.slowest, seconds)],
    ['Largest', notable(report.largest, showBytes)],
  ];
}

function named([name, count]: Ranked): object {
  return { name, count };
}

function counted([name, count]: Ranked): readonly [string, string] {
  return [name, String(count)];
}

function notable(
  messages: readonly NotableMessage[],
  show: (value: number) => string,
): (readonly [string, string])[] {
  return messages.map(({ id, sender, value }) => [`${id} <${sender}>`, show(value)] as const);
}

function seconds(value: number): string {
  return showDuration(value * 1000);
}

function totals({ total, since, until }: QueueReport): string[] {
  const { accepted, bytes, sent, deferred, failed } = total;
  return [
    `from ${localTime(since)} to ${localTime(until)}`,
    `${countOf(accepted, 'message')} accepted, ${showBytes(bytes)}`,
    `${countOf(sent, 'recipient')} sent, ${countOf(deferred, 'deferral')}, ${countOf(failed, 'recipient')} failed`,
  ];
}

function reportLines(report: QueueReport): string[] {
  const most = Math.max(1, ...report.hours.map(({ accepted }) => accepted));
  const hours = report.hours.map(({ at, accepted, sent, deferred, failed }) => {
    const numbers = [accepted, sent, deferred, failed].map((each) => String(each).padStart(9));
    const bar = '#'.repeat(Math.ceil((accepted / most) * 20));
    return `${localTime(at).slice(5, 16)}${numbers.join('')}  ${bar}`.trimEnd();
  });
  const heads = ['accepted', 'sent', 'deferred', 'failed'].map((each) => each.padStart(9));
  const lists = parts(report).flatMap(([title, rows]) => [
    '',
    title,
    ...(rows.length === 0 ? ['  none'] : rows.map(([name, value]) => row(name, value))),
  ]);
  return [...totals(report), '', `hour       ${heads.join('')}`, ...hours, ...lists];
}

function row(name: string, value: string): string {
  return `  ${cut(name, 62).padEnd(62)} ${value.padStart(12)}`;
}

function reportPage(report: QueueReport): string {
  const { since, until } = report;
  const hours = new Map(report.hours.map((hour) => [hour.at, hour]));
  const first = Math.floor(since / HOUR);
  const count = Math.ceil(until / HOUR) - first;
  // Each hour has its place, also where nothing happened.
  const values = (name: 'accepted' | 'sent') =>
    Array.from({ length: count }, (_, at) => hours.get((first + at) * HOUR)?.[name] ?? 0);
  const label = `Messages accepted and recipients sent, by hour: ${totals(report).slice(1).join('; ')}`;
  const body = markup`<h1>Mail report</h1>
    ${totals(report).map((line) => markup`<p>${line}</p>`)}
    <p>${keyOf(0, 'accepted')} ${keyOf(1, 'sent')}</p>
    ${barPlot(
      label,
      [localTime(since).slice(0, 16), localTime(until).slice(0, 16)],
      [
        { name: 'accepted', values: values('accepted') },
        { name: 'sent', values: values('sent') },
      ],
    )}
    ${parts(report).map(([title, rows]) => table(title, [], rows))}`;
  return htmlDocument('Mail report', body).text;
}

const HOUR = 3_600_000;
