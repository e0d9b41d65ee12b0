import { figuresJson, SET_FIGURES, type Figure } from '../sqlite/figures.ts';
import {
  FORGET_SAMPLES,
  LATEST_SAMPLE,
  READ_SAMPLES,
  rings,
  sampleOf,
  SET_SAMPLE,
  type RingName,
  type Sample,
  type StoredSample,
} from '../sqlite/samples.ts';
import { readFigures } from './figures.ts';
import type { Spool } from './spool.ts';

/**
 * Sets the figures that say what is, and writes all figures into each ring, if any has changed since the last sample.
 * `now` is observed time.
 */
export function takeSample(spool: Spool, now: number, present: readonly Figure[]): void {
  const isPresent = ({ name, label }: Figure) =>
    present.some((each) => each.name === name && each.label === label);
  const kept = readFigures(spool).filter((figure) => !isPresent(figure));
  const figures = figuresJson([...kept, ...present]);
  if (spool.sql<Pick<StoredSample, 'figures'>>(LATEST_SAMPLE).get()?.figures === figures) return;
  spool.transaction(() => {
    spool.sql(SET_FIGURES).run(figuresJson(present));
    for (const { stepMs, slots } of Object.values(rings)) {
      const slot = Math.floor(now / stepMs);
      spool.sql(SET_SAMPLE).run({ stepMs, slot, figures });
      spool.sql(FORGET_SAMPLES).run({ stepMs, slot, slots });
    }
  });
}

/** The samples of a ring, oldest first; none where nothing changed. */
export function readSamples(spool: Spool, name: RingName): Sample[] {
  return spool.sql<StoredSample>(READ_SAMPLES).all(rings[name].stepMs).map(sampleOf);
}
