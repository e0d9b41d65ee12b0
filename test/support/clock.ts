import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { FAKETIME } from './needs.ts';

/**
 * Environment that gives a program a clock of its own, in libfaketime's notation: `+1h`, `-10m`, or
 * `+0 x30` for time that runs 30 times as fast, monotonic clock and timers included, so that waits of
 * minutes can be watched. With `file`, the setting is read from that file and may change at any time;
 * then the monotonic clock is the machine's own, since no step of the time of day moves it, unless
 * `monotonic` says that it is set as well.
 */
export function clock(setting: string | { file: string; monotonic?: boolean }): NodeJS.ProcessEnv {
  const how =
    typeof setting === 'string'
      ? { FAKETIME: setting }
      : {
          FAKETIME_TIMESTAMP_FILE: setting.file,
          FAKETIME_NO_CACHE: '1',
          ...(!setting.monotonic && { FAKETIME_DONT_FAKE_MONOTONIC: '1' }),
        };
  return { LD_PRELOAD: FAKETIME.find((library) => existsSync(library)), ...how };
}

/** Sets the clocks of programs that read this file. Renamed, so that nobody reads half of it. */
export function setClock(file: string, aheadMs: number): void {
  writeFileSync(`${file}.new`, `${aheadMs < 0 ? '' : '+'}${aheadMs / 1000}\n`);
  renameSync(`${file}.new`, file);
}

/**
 * Removes what libfaketime leaves behind of processes that were killed, also of the children of programs. Where another
 * user's process had the same number, libfaketime fails.
 */
export function forgetClocks(): void {
  for (const name of readdirSync('/dev/shm')) {
    const [, pid] = /^(?:sem\.)?faketime_(?:sem|shm)_(\d+)$/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    try {
      rmSync(`/dev/shm/${name}`);
    } catch {
      // Another test has removed it, or it is another user's.
    }
  }
}
