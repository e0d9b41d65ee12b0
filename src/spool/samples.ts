import { figuresJson, SET_FIGURES, type Figure } from '../sqlite/figures.ts';
import {
  isSampled,
  samplesOf,
  writeSample,
  type RingName,
  type Sample,
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
  const prepare = (sql: string) => spool.sql(sql);
  if (isSampled(prepare, figures)) return;
  spool.transaction(() => {
    spool.sql(SET_FIGURES).run(figuresJson(present));
    writeSample(prepare, now, figures);
  });
}

/** The samples of a ring, oldest first; none where nothing changed. */
export function readSamples(spool: Spool, name: RingName): Sample[] {
  return samplesOf((sql) => spool.sql(sql), name);
}
