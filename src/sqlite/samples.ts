import type { Figure } from './figures.ts';
import { figuresOfJson } from './figures.ts';
import { limits } from '../limits.ts';

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

/** All figures as they were at the end of a slot; slot N ends at (N + 1) * stepMs of observed time. */
export interface Sample {
  slot: number;
  figures: Figure[];
}

/** A sample as it is stored. */
export interface StoredSample {
  slot: number;
  figures: string;
}

export function sampleOf({ slot, figures }: StoredSample): Sample {
  return { slot, figures: figuresOfJson(figures) };
}

/** SQL: sets the sample of a slot; what was there is of an earlier moment of the same slot. */
export const SET_SAMPLE = `INSERT INTO sample (step_ms, slot, figures) VALUES (:stepMs, :slot, :figures)
  ON CONFLICT DO UPDATE SET figures = excluded.figures`;

/**
 * SQL: forgets what is before the ring's time, but for the last sample before it: where nothing changed there are none,
 * and what came since is counted from that one. What is later than now is of a clock that was lost.
 */
export const FORGET_SAMPLES = `DELETE FROM sample WHERE step_ms = :stepMs AND (slot > :slot OR slot <
  (SELECT max(slot) FROM sample WHERE step_ms = :stepMs AND slot <= :slot - :slots))`;

/** SQL: the samples of a ring, oldest first. */
export const READ_SAMPLES = 'SELECT slot, figures FROM sample WHERE step_ms = ? ORDER BY slot';

/** SQL: the latest sample. */
export const LATEST_SAMPLE = `SELECT figures FROM sample WHERE step_ms = ${limits.sampleMs}
  ORDER BY slot DESC LIMIT 1`;
