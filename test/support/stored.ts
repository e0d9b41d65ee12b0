import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from '../../src/sqlite/better-sqlite3.ts';

/** A message as the spool's file has it. */
export interface Stored {
  id: string;
  eximId: string;
  sender: Buffer;
  recipients: Buffer[];
  /** Empty when the message is finished. */
  bytes: Buffer;
}

/** All that is in a spool, read from the file and not by the product; nothing where there is no file. */
export function stored(spool: string): Stored[] {
  const file = join(spool, 'spool.db');
  if (!existsSync(file)) return [];
  const db = new Database(file);
  try {
    const messages = db
      .prepare<[], Pick<Stored, 'id' | 'eximId' | 'sender'> & { seq: number }>(
        'SELECT seq, id, exim_id AS eximId, sender FROM message ORDER BY seq',
      )
      .all();
    const column = (sql: string, seq: number) => db.prepare<number, Buffer>(sql).pluck().all(seq);
    return messages.map(({ seq, ...message }) => ({
      ...message,
      recipients: column('SELECT address FROM recipient WHERE message = ? ORDER BY position', seq),
      bytes: Buffer.concat(column('SELECT bytes FROM body WHERE message = ? ORDER BY part', seq)),
    }));
  } finally {
    db.close();
  }
}
