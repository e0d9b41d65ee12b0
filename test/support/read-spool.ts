import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import Database from '../../src/sqlite/better-sqlite3.ts';

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
      const counters = db.prepare<[], [string, number, number]>(COUNTERS).raw().all();
      const damaged = counters.find(([name]) => name === 'damaged') ?? ['damaged', 0, 0];
      for (const [name, ...counted] of counters) {
        if (name === 'damaged') continue;
        const rows = messages.filter(({ state }) => name === 'accepted' || state === name);
        const bytes = rows.reduce((sum, { size }) => sum + size, 0);
        const [more, moreBytes] = name === 'accepted' ? [damaged[1], damaged[2]] : [0, 0];
        const wanted = [rows.length + more, bytes + moreBytes];
        assert.deepEqual(counted, wanted, `law 8: the counter ${name} is not that of the rows`);
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
const COUNTERS = 'SELECT name, messages, bytes FROM counter';
const RECIPIENTS = `SELECT CAST(address AS TEXT) AS address, state
  FROM recipient WHERE message = ? ORDER BY position`;
