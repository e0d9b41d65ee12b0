import { ADD_FIGURES, figuresJson, type Figure } from '../sqlite/figures.ts';
import type { Spool } from './spool.ts';

/** Adds to the figures that the spool keeps, by one statement. Runs inside the caller's transaction. */
export function addFigures(spool: Spool, figures: readonly Figure[]): void {
  if (figures.length > 0) spool.sql(ADD_FIGURES).run(figuresJson(figures));
}

/** Forgets what a figure says of others than these, which are not there any more. */
export function keepLabels(spool: Spool, name: string, labels: readonly string[]): void {
  spool
    .sql('DELETE FROM figure WHERE name = ? AND label NOT IN (SELECT value FROM json_each(?))')
    .run(name, JSON.stringify(labels));
}

/**
 * All figures of the spool at one moment: law 8's counters as `messages`, `bytes` and `entered` (how often messages came
 * into a state), and what drain counts (drain/turn-figures.ts). The cost does not depend on how much is queued.
 */
export function readFigures(spool: Spool): Figure[] {
  return spool
    .sql<Figure>(
      `SELECT 'messages' AS name, name AS label, messages AS value FROM counter
       UNION ALL SELECT 'bytes', name, bytes FROM counter
       UNION ALL SELECT 'entered', name, entered FROM counter
       UNION ALL SELECT name, label, value FROM figure`,
    )
    .all();
}
