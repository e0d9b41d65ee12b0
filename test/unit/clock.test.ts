import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { every, sleep, systemClock } from '../../src/host/clock.ts';
import { inCheckout } from '../support/program.ts';

/** Folders of src/ whose programs run in a simulated world. */
const STATIONS = ['spool', 'sqlite', 'wire', 'intake', 'drain', 'proxy'];

const OWN =
  /\bDate\.now\(|\bperformance\.now\(|\bset(?:Timeout|Interval)\(|\bMath\.random\(|timers\/promises'|import \{[^}]*\brandom(?:Bytes|UUID|Int)\b[^}]*\} from 'node:crypto'|from 'undici'/;

/** Lines that take no time from a clock: setImmediate waits for nothing, and these dates are only part of a name. */
const HARMLESS = /import \{ setImmediate \} from 'node:timers\/promises'|^ *(?:\*|\/\/)|^\/\*\*/;

for (const station of STATIONS) {
  test(`${station}/ has its time, its timers and its chance from the clock that it is handed (law 12)`, () => {
    const own = readdirSync(inCheckout(`src/${station}`), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .flatMap((path) =>
        readFileSync(inCheckout(`src/${station}/${path}`), 'utf8')
          .split('\n')
          .filter((line) => OWN.test(line) && !HARMLESS.test(line))
          .map((line) => `${path}: ${line.trim()}`),
      );
    assert.deepEqual(own, []);
  });
}

test('a sleep ends at its time, when its signal aborts, or at once when that has aborted', async () => {
  const began = systemClock.now();
  await sleep(systemClock, 20);
  assert.ok(systemClock.now() - began >= 19);
  const stop = new AbortController();
  const slept = sleep(systemClock, 3_600_000, { signal: stop.signal });
  stop.abort();
  await slept;
  await sleep(systemClock, 3_600_000, { signal: stop.signal });
});

test('what is to happen again and again does so until it is stopped', async () => {
  const times: number[] = [];
  await new Promise<void>((resolve) => {
    const stop = every(systemClock, 1, () => {
      times.push(times.length);
      if (times.length < 3) return;
      stop();
      resolve();
    });
  });
  await sleep(systemClock, 20);
  assert.deepEqual(times, [0, 1, 2]);
});
