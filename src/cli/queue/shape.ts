import { command } from '../../host/command.ts';
import { limits } from '../../limits.ts';
import { cut } from '../../mail/cut.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { ageBounds, queueShape, type Shape, type ShapeRow } from '../../watch/shape.ts';
import { jsonObjectOption } from '../json-options.ts';
import { print, printJson } from '../print.ts';

/** `appengine-mailer queue shape`: the ages of what waits, by domain. */
export const shapeCommand = command({
  name: 'shape',
  describe: 'Show how old the queue is, by domain',
  settings: { spool: spoolOption },
  options: {
    json: jsonObjectOption,
    senders: { flag: true, describe: 'By the domains of senders, and not of recipients' },
  },
  run: async ({ spool: folder, json, senders }) => {
    const by = senders ? 'senders' : 'recipients';
    const shape = await withSpool(folder, 'operator', async (spool) =>
      queueShape(spool, by, Date.now()),
    );
    if (json) await printJson({ by, bounds_minutes: ageBounds, ...shape });
    else await print([...ageLines(shape.total), '', ...domainLines(shape)]);
  },
});

/** A bar for each age. */
function ageLines({ ages, total }: ShapeRow): string[] {
  const most = Math.max(...ages);
  const names = [...ageBounds.map((minutes) => `below ${minutes}`), `${ageBounds.at(-1)} or more`];
  return [
    `recipients that wait, by age in minutes (all: ${total})`,
    ...names.map((name, at) => {
      const count = ages[at] ?? 0;
      const bar = '#'.repeat(Math.ceil((count / Math.max(1, most)) * BAR));
      return `${name.padStart(14)} ${String(count).padStart(9)} ${bar}`.trimEnd();
    }),
  ];
}

/** The table of Postfix's qshape(1): for each domain the recipients by age. */
function domainLines({ total, rows }: Shape): string[] {
  const shown = rows.slice(0, limits.shapeRows);
  const more = rows.length - shown.length;
  const heads = ['T', ...ageBounds.map(String), `${ageBounds.at(-1)}+`];
  const lines = [total, ...shown].map(({ name, total: all, ages }) =>
    line(cut(name, NAME), [all, ...ages].map(shortCount)),
  );
  return [line('', heads), ...lines, ...(more > 0 ? [`and ${more} more domains`] : [])];
}

function line(name: string, cells: readonly string[]): string {
  const [first = '', ...others] = cells;
  return name.padEnd(NAME) + first.padStart(7) + others.map((cell) => cell.padStart(5)).join('');
}

/** A count in at most four characters, but for billions: 9999, 12k, 999k, 12M. */
function shortCount(count: number): string {
  if (count < 10_000) return String(count);
  return count < 1_000_000 ? `${Math.floor(count / 1000)}k` : `${Math.floor(count / 1e6)}M`;
}

/** Columns of a name, and of the longest bar: with numbers they fit into 80. */
const [NAME, BAR] = [22, 50];
