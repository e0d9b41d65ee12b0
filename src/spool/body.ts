import { createHash, hash } from 'node:crypto';
import Database from '../sqlite/better-sqlite3.ts';
import { DatabaseUnusableError, requireWhole } from '../sqlite/open-database.ts';
import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/**
 * The bytes of a message, part by part, as often as they are iterated; they are read from the spool as
 * they are wanted, so that a large message is never whole in memory. Throws while iterating, at the end at
 * the latest, when they are not those that were stored.
 */
export function readBody(spool: Spool, seq: number, size: number): Iterable<Buffer> {
  return { [Symbol.iterator]: () => readParts(spool, seq, size) };
}

/**
 * The bytes of the small ones of these messages (limits.smallBodyBytes) by their numbers, read by one query: of those that
 * are as they were stored, and none where one of them cannot be read. readBody says what is wrong with a message. Never
 * throws.
 */
export function readSmallBodies(
  spool: Spool,
  messages: readonly { seq: number; size: number }[],
): ReadonlyMap<number, Buffer> {
  const small = messages.filter(({ size }) => size <= limits.smallBodyBytes);
  try {
    const rows = spool
      .sql<{ seq: number; size: number; digest: Buffer; bytes: Buffer }>(
        `SELECT seq, size, digest, bytes FROM message JOIN body ON message = seq AND part = 0
         WHERE seq IN (SELECT value FROM json_each(?))`,
      )
      .all(JSON.stringify(small.map(({ seq }) => seq)));
    const whole = rows.filter(
      ({ size, digest, bytes }) =>
        bytes.length === size && digest.equals(hash('sha256', bytes, 'buffer')),
    );
    return new Map(whole.map(({ seq, bytes }) => [seq, bytes]));
  } catch {
    return new Map();
  }
}

/** Stores the bytes of a message in parts; also an empty message has one. */
export function writeBody(spool: Spool, seq: number, pieces: readonly Buffer[]): void {
  const insert = spool.sql('INSERT INTO body (message, part, bytes) VALUES (?, ?, ?)');
  let part = 0;
  for (const bytes of partsOf(pieces)) {
    insert.run(seq, part, bytes);
    part += 1;
  }
}

/**
 * For a message whose bytes are damaged: throws SqliteError when a page of the tree is broken, on which or below
 * which other messages have their bytes, or when its rows have too few bytes, as where a page of another tree is in its place. Bytes
 * that do not fit a page of the tree have pages of their own, which are not read here.
 */
export function requireSoundTree(spool: Spool, seq: number): void {
  const row = spool
    .sql<{ missing: number }>(
      `SELECT size - sum(length(bytes)) AS missing FROM message JOIN body ON body.message = seq
       WHERE seq = ? GROUP BY seq`,
    )
    .get(seq);
  if (!row || requireWhole(row).missing === 0) return;
  throw new Database.SqliteError('the table body lacks bytes of a message', 'SQLITE_CORRUPT');
}

/** Whether the bytes of a message are still there. */
export function hasBody(spool: Spool, seq: number): boolean {
  return spool.sql('SELECT 1 FROM body WHERE message = ? AND part = 0').get(seq) !== undefined;
}

/** Forgets the bytes of messages. */
export function deleteBodies(spool: Spool, seqs: readonly number[]): void {
  spool
    .sql('DELETE FROM body WHERE message IN (SELECT value FROM json_each(?))')
    .run(JSON.stringify(seqs));
}

/** The same bytes in parts of PART_BYTES, the last of which may be shorter, and empty where it is the only one. */
function* partsOf(pieces: readonly Buffer[]): Generator<Buffer> {
  let part: Buffer[] = [];
  let left = PART_BYTES;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      if (left === 0) {
        yield joined(part);
        [part, left] = [[], PART_BYTES];
      }
      const bytes = piece.subarray(at, at + left);
      part.push(bytes);
      left -= bytes.length;
      at += bytes.length;
    }
  }
  yield joined(part);
}

function joined([first, ...more]: readonly Buffer[]): Buffer {
  return first && more.length === 0 ? first : Buffer.concat(first ? [first, ...more] : []);
}

function* readParts(spool: Spool, seq: number, size: number): Generator<Buffer> {
  const hashed = createHash('sha256');
  let read = 0;
  for (let part = 0; part === 0 || read < size; part += 1) {
    const row = spool
      .sql<{ bytes: Buffer }>('SELECT bytes FROM body WHERE message = ? AND part = ?')
      .get(seq, part);
    if (!row)
      throw new DatabaseUnusableError(`the spool has lost part ${part} of the message's bytes`);
    const { bytes } = requireWhole(row);
    read += bytes.length;
    hashed.update(bytes);
    yield bytes;
  }
  const message = spool
    .sql<{ digest: Buffer }>('SELECT digest FROM message WHERE seq = ?')
    .get(seq);
  if (read !== size || !message || !requireWhole(message).digest.equals(hashed.digest())) {
    throw new DatabaseUnusableError('the spool has other bytes of the message than Exim wrote');
  }
}

const PART_BYTES = limits.bodyPartBytes;
