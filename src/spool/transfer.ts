import type { MessageState, Spool } from './spool.ts';

/** A file that was made of this spool, or read into it. */
export interface Transfer {
  /** In the order of their beginnings, in this spool. */
  number: number;
  /** 128 random bits in hex, which the file carries. */
  name: string;
  what: 'export' | 'import';
  /** An import ends as done. What is in an export that has begun may be in another queue, or not. */
  state: 'begun' | 'confirmed' | 'taken back' | 'done';
  /** Where the file was. */
  file: string;
  /** For people: milliseconds since 1970. */
  at: number;
}

/** Writes down that a file is being made, or read. One that was begun before goes on. */
export function beginTransfer(
  spool: Spool,
  what: Transfer['what'],
  file: string,
  name = spool.clock.randomBytes(16).toString('hex'),
): Transfer {
  return spool.transaction(() => {
    spool
      .sql(
        `INSERT INTO transfer (name, what, file, at) VALUES (:name, :what, :file, :at)
         ON CONFLICT DO NOTHING`,
      )
      .run({ name, what, file, at: spool.clock.wallNow() });
    return transferNamed(spool, name) as Transfer;
  });
}

/** The transfer that a file names; undefined when this spool does not know it. */
export function transferNamed(spool: Spool, name: string): Transfer | undefined {
  return spool.sql<Transfer>(`SELECT ${COLUMNS} FROM transfer WHERE name = ?`).get(name);
}

/** The exports into files of this path, the latest first. */
export function exportsInto(spool: Spool, file: string): Transfer[] {
  return spool
    .sql<Transfer>(
      `SELECT ${COLUMNS} FROM transfer WHERE file = ? AND what = 'export' ORDER BY number DESC`,
    )
    .all(file);
}

/** The latest transfer of a message; undefined without any. */
export function transferOf(spool: Spool, seq: number): Transfer | undefined {
  return spool
    .sql<Transfer>(
      `SELECT ${COLUMNS} FROM moved JOIN transfer ON number = moved.transfer WHERE message = ?`,
    )
    .get(seq);
}

/** Whether a message is kept here only until its export is confirmed or taken back. */
export function isExported(
  spool: Spool,
  { seq, state }: { seq: number; state: MessageState },
): boolean {
  return state === 'held' && transferOf(spool, seq)?.what === 'export';
}

/** Decides what becomes of an export, for good, or that an import is done. */
export function decideTransfer(spool: Spool, number: number, state: Transfer['state']): void {
  spool.transaction(() =>
    spool.sql('UPDATE transfer SET state = ? WHERE number = ?').run(state, number),
  );
}

const COLUMNS = 'number, name, what, transfer.state, file, transfer.at';
