import { rescue } from '../spool/recover/rescue.ts';
import type { Spool } from '../spool/spool.ts';
import type { DrainJournal } from './drain-journal.ts';

/**
 * Tells that files of the spool were removed or replaced under drain, and saves what nobody else sees any more. The
 * process is to end then: another connection of it would share what was removed.
 */
export function tellReplaced(spool: Spool, journal: DrainJournal, fault: string): void {
  try {
    journal.spoolReplaced(fault, rescue(spool));
  } catch (error) {
    journal.spoolReplaced(fault, error as Error);
  }
}
