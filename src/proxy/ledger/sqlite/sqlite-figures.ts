import { ADD_FIGURES, figuresJson, SET_FIGURES, type Figure } from '../../../sqlite/figures.ts';
import type { Database } from '../../../sqlite/open-database.ts';
import {
  isSampled,
  samplesOf,
  writeSample,
  type RingName,
  type Sample,
} from '../../../sqlite/samples.ts';
import { limits } from '../../../limits.ts';
import type { FigureStore } from '../figure-store.ts';

/** The figures of a ledger in SQLite. */
export class SqliteFigures implements FigureStore {
  readonly #db: Database;
  readonly now: () => number;
  readonly #commit: (action: () => void) => Promise<void>;

  /** `commit` runs an action in the ledger's next transaction, and resolves when it is committed. */
  constructor(db: Database, now: () => number, commit: (action: () => void) => Promise<void>) {
    this.#db = db;
    this.now = now;
    this.#commit = commit;
  }

  async keep(added: readonly Figure[], present: readonly Figure[]): Promise<void> {
    await this.#commit(() => {
      this.#db.prepare(ADD_FIGURES).run(figuresJson(added));
      this.#db.prepare(SET_FIGURES).run(figuresJson(present));
    });
  }

  async read(): Promise<Figure[]> {
    const rows = this.#db.prepare<[], Figure>(
      `SELECT name, label, value FROM figure
       UNION ALL SELECT 'unknown_listed', '', count(*) FROM
         (SELECT 1 FROM unknown LIMIT ${limits.unknownCounted})
       UNION ALL SELECT 'ledger_bytes', '', page_count * page_size FROM pragma_page_count, pragma_page_size`,
    );
    return Promise.resolve(rows.all());
  }

  async takeSample(): Promise<void> {
    const prepare = (sql: string) => this.#db.prepare(sql);
    const figures = figuresJson(await this.read());
    if (isSampled(prepare, figures)) return;
    await this.#commit(() => writeSample(prepare, this.now(), figures));
  }

  async samples(ring: RingName): Promise<Sample[]> {
    return Promise.resolve(samplesOf((sql) => this.#db.prepare(sql), ring));
  }
}
