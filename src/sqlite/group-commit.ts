import type { Clock } from '../host/clock.ts';
import { turnsOfLoop } from '../host/turns-of-loop.ts';
import { limits } from '../limits.ts';
import { isBusy } from './is-corruption.ts';
import type { Database } from './open-database.ts';

/** A database on which several actions can be run in one transaction that is on disk when it returns. */
export interface Transactional {
  readonly db: Database;
  transaction<Result>(action: () => Result): Result;
}

/** For a program that has to do other things while another one writes to the database. */
export interface Patience {
  clock: Clock;
  /** How long an action waits for its transaction before it fails. */
  waitMs: number;
}

/**
 * Commits what many ask for in one transaction, so that they share its fsync: a few turns of the event loop collect the
 * actions, and each of them can fail without the others.
 */
export class GroupCommit {
  readonly #database: () => Transactional;
  readonly #patience: Patience | undefined;
  #waiting: Waiting[] = [];
  #isPlanned = false;

  /**
   * `database` is asked for each transaction; when it throws, all actions of that transaction fail. With patience, a
   * transaction that cannot begin because the database is locked is tried again every limits.busyPollMs.
   */
  constructor(database: () => Transactional, patience?: Patience) {
    this.#database = database;
    this.#patience = patience;
  }

  /** Runs the action in the next transaction, and resolves with its result when that is on disk. */
  async commit<Result>(action: () => Result): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      let result: Result;
      this.#waiting.push({
        action: () => {
          result = action();
        },
        committed: () => resolve(result),
        failed: reject,
        until: this.#patience ? this.#patience.clock.now() + this.#patience.waitMs : -Infinity,
      });
      if (!this.#isPlanned) void turnsOfLoop(TURNS_TO_COLLECT).then(() => this.#commitAll());
      this.#isPlanned = true;
    });
  }

  #commitAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#isPlanned = false;
    try {
      const database = this.#database();
      for (const tell of database.transaction(() => runAll(database.db, waiting))) tell();
    } catch (error) {
      const patient = isBusy(error) ? this.#tryLater(waiting) : [];
      for (const each of waiting) if (!patient.includes(each)) each.failed(error);
    }
  }

  /** Keeps those that may still wait, and returns them. */
  #tryLater(waiting: readonly Waiting[]): readonly Waiting[] {
    if (!this.#patience) return [];
    const { clock } = this.#patience;
    const now = clock.now();
    this.#waiting = waiting.filter(({ until }) => now < until);
    this.#isPlanned = this.#waiting.length > 0;
    if (this.#isPlanned) clock.timer(limits.busyPollMs, () => this.#commitAll(), { idle: true });
    return this.#waiting;
  }
}

/** Turns of the event loop in which actions are collected. More bring no larger transactions. */
const TURNS_TO_COLLECT = 3;

interface Waiting {
  action: () => void;
  failed: (error: unknown) => void;
  committed: () => void;
  /** It waits for its transaction until then; monotonic. */
  until: number;
}

/** Runs each action as a savepoint; returns what is to be called after the commit. */
function runAll(db: Database, waiting: readonly Waiting[]): (() => void)[] {
  const alone = db.transaction((action: () => void) => action());
  return waiting.map(({ action, failed, committed }) => {
    try {
      alone(action);
      return committed;
    } catch (error) {
      // A full or broken disk may have ended the whole transaction.
      if (!db.inTransaction) throw error;
      return () => failed(error);
    }
  });
}
