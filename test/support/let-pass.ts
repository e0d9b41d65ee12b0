import Database from '../../src/sqlite/better-sqlite3.ts';

/** Makes what a spool.db or ledger.db holds older, as if the program that has it had seen the time pass; none may run. */
export function letPass(file: string, ms: number): void {
  const db = new Database(file, { fileMustExist: true });
  db.prepare('UPDATE clock SET observed_ms = observed_ms + ?').run(ms);
  db.close();
}
