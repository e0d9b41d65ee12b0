import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { every, sleep, systemClock, type Clock } from '../host/clock.ts';
import { exitCodes } from '../host/command-error.ts';
import type { DrainJournal } from './drain-journal.ts';
import { tellRepair } from '../sqlite/recover/repair-report.ts';
import type { SdNotify } from '../host/systemd/sd-notify.ts';
import { limits } from '../limits.ts';
import { spoolFile } from '../spool/spool.ts';
import { SpoolDamagedError } from '../spool/with-spool.ts';

interface RepairOptions {
  folder: string;
  journal: DrainJournal;
  notify: SdNotify;
  clock?: Clock;
  stop: AbortSignal;
}

/**
 * Runs a drain; when it ends with SpoolDamagedError, has `queue fsck` repair the spool and runs it again: one
 * broken page must not stop all mail. After a repair the next one waits for limits.repairEveryMs: a person has to
 * replace a disk that goes on damaging files.
 */
export async function withRepairs<T>(
  options: RepairOptions,
  drain: () => Promise<T>,
): Promise<T | 'stopped'> {
  const { folder, journal, notify, stop, clock = systemClock } = options;
  let repairAt = -Infinity;
  for (;;) {
    try {
      return await drain();
    } catch (error) {
      if (!(error instanceof SpoolDamagedError)) throw error;
      const waitMs = Math.max(0, repairAt - clock.now());
      journal.spoolTrouble(folder, `${error.fault}; it will be repaired`, waitMs);
      const status = () => `the spool is damaged, so nothing is sent: ${error.fault}`;
      const stopBeat = every(clock, limits.statusMs, () => notify.working(status));
      try {
        await sleep(clock, waitMs, { signal: stop });
        const code = stop.aborted ? null : await repair(options);
        if (stop.aborted) return 'stopped';
        repairAt =
          clock.now() + (code === exitCodes.ok ? limits.repairEveryMs : limits.spoolRetryMaxMs);
      } finally {
        stopBeat();
      }
    }
  }
}

/**
 * Runs `queue fsck` beside the loop, which gives systemd a sign of life; returns its exit code. A stop waits for it,
 * because it names what is lost when it replaces the old file.
 */
async function repair({ folder, journal }: RepairOptions): Promise<number | null> {
  const args = [process.argv[1] ?? '', 'queue', 'fsck', '--untold', '--spool', folder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  createInterface(child.stderr).on('line', (line) => journal.spoolRepaired(line));
  const [code] = (await once(child, 'close')) as [number | null];
  await tellRepaired(folder, journal);
  return code;
}

/** Tells the journal what a repair of the spool found and lost, if that is still to be told. */
export async function tellRepaired(folder: string, journal: DrainJournal): Promise<void> {
  await tellRepair(spoolFile(folder), (sentences) => {
    for (const sentence of sentences) journal.spoolRepaired(sentence);
  });
}
