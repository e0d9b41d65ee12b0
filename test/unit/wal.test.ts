import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { committedFrames, framesNeeded, PAGE_BYTES } from '../../src/sqlite/recover/wal.ts';
import { scratch } from '../support/scratch.ts';

const HEADER = 32;
const FRAME = 24 + PAGE_BYTES;

interface Files {
  file: string;
  log: Buffer;
  index: Buffer;
}

/** A database with a log as a crash leaves it: `early` commits of an earlier use of the log, and then `commits`. */
function withLog(t: TestContext, { early = 0, commits = 4 } = {}): Files {
  const file = join(scratch(t), 'made.db');
  const db = new Database(file);
  try {
    db.pragma('journal_mode = WAL');
    db.exec('CREATE TABLE item (number INTEGER PRIMARY KEY, bytes BLOB)');
    const add = db.prepare('INSERT INTO item (bytes) VALUES (randomblob(6000))');
    for (let nth = 0; nth < early; nth += 1) add.run();
    // The log is used anew from its beginning, and what it was used for before stays behind.
    db.pragma('wal_checkpoint(RESTART)');
    for (let nth = 0; nth < commits; nth += 1) add.run();
    const copy = `${file}.copy`;
    copyFileSync(file, copy);
    return { file: copy, log: readFileSync(`${file}-wal`), index: readFileSync(`${file}-shm`) };
  } finally {
    db.close();
  }
}

function read(log: Buffer) {
  const found = committedFrames((at, length) => {
    return at >= 0 && at + length <= log.length ? log.subarray(at, at + length) : undefined;
  }, log.length);
  assert.ok(found);
  return found;
}

/** The file as SQLite makes it when it recovers the log. */
function recovered(file: string, log: Buffer): Buffer {
  writeFileSync(`${file}-wal`, log);
  const db = new Database(file);
  db.pragma('wal_checkpoint(TRUNCATE)');
  db.close();
  return readFileSync(file);
}

/** Compares what is found in a log with what SQLite itself makes of it. */
function assertAsSqlite({ file }: Files, log: Buffer, note: string) {
  const { pages, pageCount } = read(log);
  const before = readFileSync(file);
  const count = pageCount ?? before.length / PAGE_BYTES;
  const ours = Array.from({ length: count }, (_, index) => {
    const at = pages.get(index + 1);
    const [from, start] = at === undefined ? [before, index * PAGE_BYTES] : [log, at];
    return from.subarray(start, start + PAGE_BYTES);
  });
  assert.ok(recovered(file, log).equals(Buffer.concat(ours)), note);
  writeFileSync(file, before);
}

function frames(log: Buffer): number {
  return (log.length - HEADER) / FRAME;
}

/** The frames that end a commit, from 0. */
function commitsOf(log: Buffer): number[] {
  return Array.from({ length: frames(log) }, (_, frame) => frame).filter(
    (frame) => log.readUInt32BE(HEADER + frame * FRAME + 4) > 0,
  );
}

test('a whole log has all its frames committed', (t) => {
  const files = withLog(t);
  const { wholeFrames, commitsBehind } = read(files.log);
  assert.deepEqual([wholeFrames, commitsBehind], [frames(files.log), 0]);
  assertAsSqlite(files, files.log, 'whole');
});

test('a log that is torn at any place has the commits before that place, as SQLite sees them', (t) => {
  const files = withLog(t);
  for (let frame = 0; frame <= frames(files.log); frame += 1) {
    for (const more of [0, 1, 24, 25, FRAME - 1]) {
      const torn = files.log.subarray(0, Math.min(files.log.length, HEADER + frame * FRAME + more));
      assert.equal(read(torn).wholeFrames, Math.floor((torn.length - HEADER) / FRAME));
      assert.equal(read(torn).commitsBehind, 0, 'what is cut off leaves no trace in the log');
      assertAsSqlite(files, torn, `${frame} frames and ${more} bytes`);
    }
  }
});

test('behind a frame with one wrong byte nothing counts, and the commits behind it are counted', (t) => {
  const files = withLog(t);
  for (let frame = 0; frame < frames(files.log); frame += 1) {
    for (const at of [0, 4, 16, 24, FRAME - 1]) {
      const broken = Buffer.from(files.log);
      const place = HEADER + frame * FRAME + at;
      broken.writeUInt8(broken.readUInt8(place) ^ 1, place);
      const { wholeFrames, commitsBehind } = read(broken);
      assert.equal(wholeFrames, frame);
      // With a wrong byte in its own count of pages, a frame may end no commit any more, or one that it did not end.
      const behind = commitsOf(broken).filter((each) => each >= frame).length;
      assert.equal(commitsBehind, behind);
      assertAsSqlite(files, broken, `frame ${frame}, byte ${at}`);
    }
  }
});

test('frames of an earlier use of the log have another salt, and do not count', (t) => {
  const files = withLog(t, { early: 6, commits: 2 });
  const { wholeFrames, commitsBehind, pages } = read(files.log);
  assert.ok(wholeFrames > 0 && wholeFrames < frames(files.log), 'there are frames of both');
  assert.equal(commitsBehind, 0);
  for (const at of pages.values()) assert.ok(at < HEADER + wholeFrames * FRAME);
  assertAsSqlite(files, files.log, 'stale frames');
});

test('of a log without its header nothing counts, and its last frame tells which commits are lost', (t) => {
  const files = withLog(t);
  const broken = Buffer.from(files.log);
  broken.fill(0, 0, HEADER);
  const { wholeFrames, commitsBehind } = read(broken);
  assert.deepEqual([wholeFrames, commitsBehind], [0, commitsOf(files.log).length]);
  assertAsSqlite(files, broken, 'no header');
});

test('frames of a transaction that was not committed do not count', (t) => {
  const files = withLog(t);
  const last = commitsOf(files.log).at(-2) ?? 0;
  const open = files.log.subarray(0, HEADER + (last + 2) * FRAME);
  assert.equal(read(open).wholeFrames, last + 2);
  const { pageCount } = read(open);
  assert.equal(pageCount, open.readUInt32BE(HEADER + last * FRAME + 4));
  assertAsSqlite(files, open, 'half a commit');
});

test('a log that is empty, or shorter than its header, says nothing', () => {
  for (const size of [0, HEADER - 1]) {
    const none = (at: number, length: number) =>
      at + length <= size ? Buffer.alloc(length) : undefined;
    assert.equal(committedFrames(none, size), undefined);
  }
});

test('the index of a log says how many of its frames are needed, for its own use of the log alone', (t) => {
  const { log, index } = withLog(t, { early: 3 });
  assert.equal(framesNeeded(index, read(log).salt), read(log).wholeFrames);
  assert.equal(framesNeeded(index, Buffer.alloc(8)), 0);
  assert.equal(framesNeeded(index), read(log).wholeFrames);
});
