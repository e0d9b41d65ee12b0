import { rescue } from '../spool/recover/rescue.ts';
import type { Spool } from '../spool/spool.ts';
import type { DrainJournal } from './drain-journal.ts';

/**
 * Tells the journal that files of the spool were removed or replaced under drain, and saves what only this process
 * still sees. The process has to end then: another connection of it would share the removed files.
 */
export function tellReplaced(spool: Spool, journal: DrainJournal, fault: string): void {
  try {
    journal.spoolReplaced(fault, rescue(spool));
  } catch (error) {
    journal.spoolReplaced(fault, error as Error);
  }
}
