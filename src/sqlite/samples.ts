import { limits } from '../limits.ts';
import type SQLite from './better-sqlite3.ts';
import { figuresOfJson, type Figure } from './figures.ts';

/** How finely a time is sampled, and how many of its slots are kept. */
export interface Ring {
  stepMs: number;
  slots: number;
}

/** The rings of samples, by the time that each shows. */
export const rings = {
  hour: { stepMs: limits.sampleMs, slots: 60 },
  day: { stepMs: 15 * limits.sampleMs, slots: 96 },
  week: { stepMs: 120 * limits.sampleMs, slots: 84 },
} as const satisfies Record<string, Ring>;

export type RingName = keyof typeof rings;

/** All figures as they were when something was last sampled in a slot: slot N begins at N * stepMs of observed time. */
export interface Sample {
  slot: number;
  /** When it was taken, in observed time. */
  at: number;
  figures: Figure[];
}

/** Prepares a statement. */
type Prepare = (sql: string) => SQLite.Statement;

/** Whether all figures, as figuresJson writes them, are those of the latest sample. */
export function isSampled(prepare: Prepare, figures: string): boolean {
  const latest = prepare(
    `SELECT figures FROM sample WHERE step_ms = ${limits.sampleMs} ORDER BY slot DESC LIMIT 1`,
  ).get() as { figures: string } | undefined;
  return latest?.figures === figures;
}

/**
 * Writes all figures into each ring. Samples from before the ring's time are forgotten, but for the last of them: where
 * nothing changed there are none, and later samples are compared with that one. Samples that are later than now are of a
 * clock that was lost. Runs inside the caller's transaction; `now` is observed time.
 */
export function writeSample(prepare: Prepare, now: number, figures: string): void {
  for (const { stepMs, slots } of Object.values(rings)) {
    const slot = Math.floor(now / stepMs);
    prepare(
      `INSERT INTO sample (step_ms, slot, at, figures) VALUES (:stepMs, :slot, :now, :figures)
       ON CONFLICT DO UPDATE SET at = excluded.at, figures = excluded.figures`,
    ).run({ stepMs, slot, now, figures });
    prepare(
      `DELETE FROM sample WHERE step_ms = :stepMs AND (slot > :slot OR slot <
         (SELECT max(slot) FROM sample WHERE step_ms = :stepMs AND slot <= :slot - :slots))`,
    ).run({ stepMs, slot, slots });
  }
}

/** The samples of a ring, oldest first. */
export function samplesOf(prepare: Prepare, name: RingName): Sample[] {
  const rows = prepare('SELECT slot, at, figures FROM sample WHERE step_ms = ? ORDER BY slot');
  return (rows.all(rings[name].stepMs) as StoredSample[]).map(({ figures, ...sample }) => ({
    ...sample,
    figures: figuresOfJson(figures),
  }));
}

type StoredSample = Omit<Sample, 'figures'> & { figures: string };
