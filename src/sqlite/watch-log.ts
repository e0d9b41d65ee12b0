import { statSync } from 'node:fs';
import { every, systemClock, type Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import { databaseTrouble } from './database-trouble.ts';
import { holdersOf } from './holders-of.ts';
import type { OpenFiles } from './open-files.ts';

/** Who is told of a write-ahead log. */
export interface LogJournal {
  /** It has grown above limits.logAlarmBytes; `holders` are the other programs that have the file open. */
  grown: (bytes: number, holders: readonly string[]) => void;
  /** It is no larger than that any more. */
  shrunk: () => void;
}

/**
 * Looks every limits.lookMs how large the log of an open database is, and tells when it is large, again every
 * limits.faultRepeatMs, and once when that is over. A reader who does not end, such as an open sqlite3 or a backup, keeps
 * the log from being used anew: it then has everything that was ever committed. Returns what ends it.
 */
export function watchLog(
  files: OpenFiles,
  { grown, shrunk }: LogJournal,
  clock: Clock = systemClock,
): () => void {
  let toldAt: number | undefined;
  const look = () => {
    // Nobody else does, when no mail comes after the reader has ended.
    if (logBytes(files.name) > limits.logAlarmBytes) files.cutLog();
    const bytes = logBytes(files.name);
    const now = clock.now();
    if (bytes <= limits.logAlarmBytes) {
      if (toldAt !== undefined) shrunk();
      toldAt = undefined;
    } else if (toldAt === undefined || now >= toldAt + limits.faultRepeatMs) {
      grown(bytes, holdersOf(files.name));
      toldAt = now;
    }
  };
  return every(clock, limits.lookMs, () => {
    try {
      look();
    } catch (error) {
      // The next operation on the database reports what is wrong, such as that a file was removed.
      if (databaseTrouble(error, files.name, []) === undefined) throw error;
    }
  });
}

/** What is said of such a log. `name` is what the file is called, such as `the spool /var/…`. */
export function logGrownText(name: string, bytes: number, holders: readonly string[]): string {
  const who =
    holders.length === 0
      ? 'which one cannot be seen from here (as root, fuser -v names those that have the file open)'
      : `it is open in ${holders.join(', ')}`;
  return (
    `the write-ahead log of ${name} has grown to ${Math.round(bytes / 1e6)} MB, because a program reads an old ` +
    `state of it without end; ${who}. It grows with all further mail until the disk is full`
  );
}

/** What to do about it. */
export const logGrownRemedy =
  'end the program that reads (an open sqlite3, a backup), or let it end its transaction';

/** The explanation for the message catalog. `file` is the name of the database file. */
export function logGrownHelp(file: string): string {
  return `
    ${file}-wal contains what was committed since it was last copied into ${file}. While any program reads an
    older state of the file (an sqlite3 shell with an open transaction, a backup tool that copies for hours), the
    log cannot be used anew, and grows with every commit until the disk is full. The line names the programs that
    have the file open, as far as they can be seen. Root sees all of them: fuser -v ${file}

    End that program. The log is then cut back by itself. For a backup, sqlite3 ${file} ".backup COPY" reads in
    short steps.`;
}

/** How large the log of a database is. */
export function logBytes(file: string): number {
  return statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}
