import type { Database } from './open-database.ts';

/** A database on which several actions can be run in one transaction that is on disk when it returns. */
export interface Transactional {
  readonly db: Database;
  transaction<Result>(action: () => Result): Result;
}

/**
 * Commits what many ask for in one transaction, so that they share its fsync: one turn of the event loop collects the
 * actions, and each of them can fail without the others.
 */
export class GroupCommit {
  readonly #database: () => Transactional;
  #waiting: Waiting[] = [];

  /** `database` is asked for each transaction; when it throws, all actions of that transaction fail. */
  constructor(database: () => Transactional) {
    this.#database = database;
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
      });
      if (this.#waiting.length === 1) setImmediate(() => this.#commitAll());
    });
  }

  #commitAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      const database = this.#database();
      for (const tell of database.transaction(() => runAll(database.db, waiting))) tell();
    } catch (error) {
      for (const { failed } of waiting) failed(error);
    }
  }
}

interface Waiting {
  action: () => void;
  failed: (error: unknown) => void;
  committed: () => void;
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
