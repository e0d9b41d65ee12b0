import { command } from '../../host/command.ts';
import { sleep, systemClock } from '../../host/clock.ts';
import { stopSignal } from '../../host/stop-signal.ts';
import { limits } from '../../limits.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { QueueWatch } from '../../watch/queue-watch.ts';
import { print } from '../print.ts';
import { topLines, type TopOrder } from './top-lines.ts';

/** `appengine-mailer queue top`: the queue as it goes, in a terminal. */
export const topCommand = command({
  name: 'top',
  describe: 'Watch the queue: rates, when it will be empty, and what is being sent',
  settings: { spool: spoolOption },
  options: {
    once: { flag: true, describe: 'Print it once, as plain text' },
  },
  run: async ({ spool: folder, once }) => {
    await withSpool(folder, 'operator', async (spool) => {
      const watch = new QueueWatch(spool);
      const isLive = !once && process.stdout.isTTY && process.stdin.isTTY;
      if (isLive) return watchLive(watch);
      const size = { width: 80, rows: 40, order: 'age' } as const;
      await print(topLines(watch.look(), { ...size, wallNow: Date.now() }));
    });
  },
});

/** Shows the queue each second, until q or Ctrl-C is typed or this program is stopped. */
async function watchLive(watch: QueueWatch): Promise<void> {
  const { stdin, stdout } = process;
  const quit = new AbortController();
  const end = AbortSignal.any([stopSignal(), quit.signal]);
  let order: TopOrder = 'age';
  const show = () => {
    // A terminal may not know its size.
    const [width, rows] = [stdout.columns || 80, stdout.rows || 24];
    const lines = topLines(watch.look(), { width, rows, order, wallNow: Date.now() });
    const text = [...lines.slice(0, rows - 2), '', HELP]
      .map((line) => `${line}\x1b[K`)
      .join('\r\n');
    stdout.write(`\x1b[H${text}\x1b[J`);
  };
  const onKey = (typed: Buffer) => {
    for (const key of typed.toString('latin1')) {
      if (key === 'q' || key === CTRL_C) quit.abort();
      order = ORDERS[key] ?? order;
    }
    if (!end.aborted) show();
  };
  stdin.setRawMode(true);
  stdin.on('data', onKey);
  // The screen of the shell stays as it was (xterm's alternate screen), and the cursor is out of the way.
  stdout.write('\x1b[?1049h\x1b[?25l');
  try {
    while (!end.aborted) {
      show();
      await sleep(systemClock, limits.topMs, { signal: end });
    }
  } finally {
    stdout.write('\x1b[?25h\x1b[?1049l');
    stdin.off('data', onKey);
    stdin.setRawMode(false);
    stdin.pause();
  }
}

const HELP = 'sort by: a age, s size, t attempts; q quits';
const ORDERS: Record<string, TopOrder> = { a: 'age', s: 'size', t: 'attempts' };
const CTRL_C = '\x03';
