import type { Clock } from '../host/clock.ts';
import type SQLite from './better-sqlite3.ts';
import { requireWhole, type Database } from './open-database.ts';

/**
 * Observed time: the milliseconds that the programs at work on a database saw pass, by the monotonic clock, added up in
 * its table `clock`. No step of the wall clock moves it, and time in which no program runs does not count. Only the one
 * program that has the database's lock lets it go on; a crash takes back what it has not written down yet.
 *
 * The table has one row: observed_ms, which begins at 30 days, so that 0 is long ago and nothing is negative; and
 * written_at, the wall clock's time when it was written, in milliseconds since 1970.
 */
export class ObservedTime {
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #storedMs: number;
  readonly #write: SQLite.Statement<[{ now: number; wall: number }]>;

  constructor(db: Database, clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.#storedMs = storedTime(db).observedMs;
    this.#write = db.prepare(
      'UPDATE clock SET observed_ms = max(observed_ms, :now), written_at = :wall WHERE only = 1',
    );
  }

  now(): number {
    return this.#storedMs + Math.floor(this.#clock.now() - this.#startedAt);
  }

  /** Writes it down, in the caller's transaction: what that stores is never later than the clock. */
  write(): void {
    this.#write.run({ now: this.now(), wall: this.#clock.wallNow() });
  }
}

/** Observed time as it was last written down, and when that was by the wall clock. */
export function storedTime(db: Database): { observedMs: number; writtenAt: number } {
  const row = db
    .prepare<[], Stored>(
      'SELECT observed_ms AS observedMs, written_at AS writtenAt FROM clock WHERE only = 1',
    )
    .get();
  return requireWhole(row ?? LOST) as { observedMs: number; writtenAt: number };
}

/** Says what is wrong with a database's observed time; an older file has none yet. */
export function clockFaults(db: Database): string[] {
  if (!db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'clock'`).get()) return [];
  return db.prepare('SELECT 1 FROM clock').get() ? [] : ['the clock is lost'];
}

/**
 * Makes sure that a repaired database has a clock, and returns its time. Nothing vouches for it, nor for the times that
 * were read with it: they are to be set anew.
 */
export function restoreTime(db: Database, wall: number): number {
  db.prepare('INSERT OR IGNORE INTO clock (only, observed_ms, written_at) VALUES (1, 0, ?)').run(
    wall,
  );
  db.prepare('UPDATE clock SET observed_ms = max(observed_ms, ?)').run(BEGINNING_MS);
  return storedTime(db).observedMs;
}

/** Where observed time begins. The migrations that make the table say the same. */
const BEGINNING_MS = 30 * 86_400_000;

type Stored = { observedMs: number | null; writtenAt: number | null };
const LOST: Stored = { observedMs: null, writtenAt: null };
