import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import Database from 'better-sqlite3';

/** A message as it is in the spool's file. */
export interface Spooled {
  id: string;
  eximId: string;
  state: string;
  sender: string;
  recipients: { address: string; state: string }[];
  /** Null when the body is gone. */
  bytes: Buffer | null;
}

/**
 * Reads all messages from a spool's file, past the code under test. Fails when the file is damaged, or
 * when law 8's counters are not what its rows say; the rows of a test's spool are all still there.
 */
export function readSpool(folder: string): Spooled[] {
  const db = new Database(join(folder, 'spool.db'), { readonly: true, fileMustExist: true });
  try {
    return db.transaction(() => {
      assert.deepEqual(db.pragma('integrity_check'), [{ integrity_check: 'ok' }]);
      assert.deepEqual(db.pragma('foreign_key_check'), []);
      const messages = db.prepare<[], Row>(MESSAGES).all();
      const counters = db.prepare<[], [string, number]>(COUNTERS).raw().all();
      const states = messages.map(({ state }) => state);
      const damaged = counters.find(([name]) => name === 'damaged')?.[1] ?? 0;
      for (const [name, count] of counters) {
        const rows = states.filter((state) => state === name).length;
        const wanted = { damaged, accepted: states.length + damaged }[name] ?? rows;
        assert.equal(count, wanted, `law 8: the counter ${name} is not the number of rows`);
      }
      const recipients = db.prepare<[number], Spooled['recipients'][number]>(RECIPIENTS);
      const parts = db.prepare<[number], Buffer>(PARTS).pluck();
      return messages.map(({ seq, size, digest, ...message }) => {
        const body = parts.all(seq);
        const bytes = body.length === 0 ? null : Buffer.concat(body);
        if (bytes) assert.equal(size, bytes.length);
        if (bytes) assert.deepEqual(createHash('sha256').update(bytes).digest(), digest);
        return { ...message, recipients: recipients.all(seq), bytes };
      });
    })();
  } finally {
    db.close();
  }
}

type Row = Omit<Spooled, 'recipients' | 'bytes'> & { seq: number; size: number; digest: Buffer };

const MESSAGES = `SELECT seq, id, exim_id AS eximId, state, CAST(sender AS TEXT) AS sender, size, digest
  FROM message ORDER BY seq`;
const PARTS = 'SELECT bytes FROM body WHERE message = ? ORDER BY part';
const COUNTERS = 'SELECT name, messages FROM counter';
const RECIPIENTS = `SELECT CAST(address AS TEXT) AS address, state
  FROM recipient WHERE message = ? ORDER BY position`;
