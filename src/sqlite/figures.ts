/**
 * A number that is kept about what happened: its name, what of it is counted (a state, a status, the name of a key; empty
 * where there is only one), and its value.
 */
export interface Figure {
  name: string;
  label: string;
  value: number;
}

/** Collects what is to be added to figures, each of them once. */
export class Tally {
  readonly #values = new Map<string, Map<string, number>>();

  add(name: string, label = '', by = 1): void {
    let labels = this.#values.get(name);
    if (!labels) this.#values.set(name, (labels = new Map()));
    labels.set(label, (labels.get(label) ?? 0) + by);
  }

  /** Adds a time: to the count of those up to the same bound, and to the sum, `name`_ms. */
  addTime(name: string, ms: number): void {
    this.add(name, boundLabel(timeBounds.find((bound) => ms <= bound * 1000) ?? Infinity));
    this.add(`${name}_ms`, '', Math.round(ms));
  }

  get figures(): Figure[] {
    return [...this.#values].flatMap(([name, labels]) =>
      Array.from(labels, ([label, value]) => ({ name, label, value })),
    );
  }
}

/** Upper bounds of times that are counted together, in seconds; what is longer has the bound Infinity. */
export const timeBounds = [
  0.01, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 14_400, 86_400, 432_000,
] as const;

/** The label of a bound. */
export function boundLabel(bound: number): string {
  return bound === Infinity ? '+Inf' : String(bound);
}

/**
 * SQL of a migration: the tables `figure`, and `sample` (sqlite/samples.ts). It never changes, as any migration.
 */
export const FIGURE_TABLES = `
CREATE TABLE figure (
  name TEXT NOT NULL,
  label TEXT NOT NULL,
  value INTEGER NOT NULL CHECK (value >= 0),
  PRIMARY KEY (name, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE sample (
  step_ms INTEGER NOT NULL CHECK (step_ms > 0),
  slot INTEGER NOT NULL CHECK (slot >= 0),
  at INTEGER NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (step_ms, slot)
) STRICT, WITHOUT ROWID;
`;

/** SQL: adds to the figures of the list that figuresJson makes. One statement, however many they are. */
export const ADD_FIGURES = `INSERT INTO figure (name, label, value)
  SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE TRUE
  ON CONFLICT DO UPDATE SET value = min(value + excluded.value, ${Number.MAX_SAFE_INTEGER})`;

/** SQL: sets such figures, which then say what is, and do not count. */
export const SET_FIGURES = `INSERT INTO figure (name, label, value)
  SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE TRUE
  ON CONFLICT DO UPDATE SET value = excluded.value`;

/** Figures as one text. */
export function figuresJson(figures: readonly Figure[]): string {
  return JSON.stringify(figures.map(({ name, label, value }) => [name, label, value]));
}

/** The figures of such a text. */
export function figuresOfJson(text: string): Figure[] {
  const rows = JSON.parse(text) as [string, string, number][];
  return rows.map(([name, label, value]) => ({ name, label, value }));
}
