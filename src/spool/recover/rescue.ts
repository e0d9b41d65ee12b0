import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFile } from '../../sqlite/open-database.ts';
import { PageFile } from '../../sqlite/recover/page-file.ts';
import { PAGE_BYTES } from '../../sqlite/recover/wal.ts';
import { readRows } from '../../sqlite/recover/read-rows.ts';
import { NotRegularFileError, readRegularFile } from '../../host/regular-file.ts';
import { syncFolder } from '../../host/sync-folder.ts';
import { decodeAddress } from '../../mail/address.ts';
import { readBody } from '../body.ts';
import { store } from '../enqueue.ts';
import { operate } from '../operate.ts';
import { LISTED, spoolFile, type Spool } from '../spool.ts';

/** What is saved of a message before its bytes, as a line of JSON. */
interface Saved {
  id: string;
  eximId: string;
  sender: string;
  recipients: string[];
  isHeld: boolean;
}

/**
 * Saves what only this connection sees, since its log was removed and others made a new one: each message that is not
 * finished and that they do not find, into a file of its own in the spool's folder, for adoptRescued. Returns how many.
 * The process is to end then. Throws when nothing can be saved for certain: as soon as the new log was copied into the
 * file, what is read here may be pieces of both.
 */
export function rescue(spool: Spool): number {
  if (!spool.files.logIsHidden) return 0;
  const known = idsOfOthers(spool);
  const written: string[] = [];
  try {
    spool.db.transaction(() => {
      for (const { seq, size, sender, state, ...ids } of spool.sql<Row>(UNFINISHED).iterate()) {
        if (known.has(ids.id)) continue;
        const recipients = spool.db
          .prepare<[number], Buffer>(WAITING)
          .pluck()
          .all(seq)
          .map((address) => decodeAddress(address));
        const saved = {
          ...ids,
          sender: decodeAddress(sender),
          recipients,
          isHeld: state === 'held',
        };
        const line = Buffer.from(`${JSON.stringify(saved)}\n`);
        const file = join(spool.folder, `${PREFIX}${ids.id}`);
        written.push(file);
        writeDurably(`${file}.new`, Buffer.concat([line, ...readBody(spool, seq, size)]));
      }
    })();
    if (logWasCopied(spoolFile(spool.folder)))
      throw new Error('the new log is in the file already');
  } catch (error) {
    for (const file of written) rmSync(`${file}.new`, { force: true });
    throw error;
  }
  for (const file of written) renameSync(`${file}.new`, file);
  syncFolder(spool.folder);
  return written.length;
}

/**
 * Queues what an earlier drain has saved, each message under its id, and returns how many were not known (law 2).
 * `unreadable` is told of a file that cannot be read; it is kept under another name, and holds up no mail.
 */
export function adoptRescued(
  spool: Spool,
  now: number,
  unreadable: (file: string) => void,
): number {
  let adopted = 0;
  for (const name of readdirSync(spool.folder)) {
    if (!RESCUED.test(name)) continue;
    const content = contentOf(join(spool.folder, name));
    const end = content?.indexOf('\n') ?? -1;
    const saved = content && readSaved(content.toString('utf8', 0, end));
    if (!saved) {
      renameSync(join(spool.folder, name), join(spool.folder, `${name}.damaged`));
      unreadable(join(spool.folder, `${name}.damaged`));
      continue;
    }
    const { id, eximId, isHeld, ...envelope } = saved;
    const bytes = content.subarray(end + 1);
    const digest = createHash('sha256').update(bytes).digest();
    const { already } = store(spool, { eximId, envelope, bytes, digest }, now, id);
    if (isHeld) operate(spool, id, { verb: 'hold', now });
    if (!already) adopted += 1;
    rmSync(join(spool.folder, name));
  }
  return adopted;
}

/** Undefined for what only has the name of such a file. */
function contentOf(file: string): Buffer | undefined {
  try {
    return readRegularFile(file, true);
  } catch (error) {
    if (error instanceof NotRegularFileError) return undefined;
    throw error;
  }
}

function readSaved(line: string): Saved | undefined {
  try {
    return JSON.parse(line) as Saved;
  } catch {
    return undefined;
  }
}

interface Row {
  seq: number;
  id: string;
  eximId: string;
  sender: Buffer;
  size: number;
  state: string;
}

/**
 * The ids of the messages that others find by the file's name: SQLite would show this process its old log. The file is
 * not closed again, because that would drop the lock which keeps others from removing their log.
 */
function idsOfOthers(spool: Spool): Set<unknown> {
  const root = spool
    .sql<{ page: number }>(
      `SELECT rootpage AS page FROM sqlite_schema WHERE name = 'sqlite_autoindex_message_1'`,
    )
    .get();
  const rows = readRows(new PageFile(spoolFile(spool.folder)), root?.page ?? 0);
  return new Set([...rows].map((row) => row?.values[0]));
}

/**
 * Whether a new log may have been copied into the file: SQLite does so when it has a thousand frames, and counts in its
 * header how often it was used anew since (file format, 4.1).
 */
function logWasCopied(file: string): boolean {
  const log = readFileSync(`${file}-wal`);
  return log.readUInt32BE(12) > 0 || log.length > COPIED_BYTES;
}

function writeDurably(file: string, content: Buffer): void {
  makeFile(file);
  writeFileSync(file, content, { flush: true });
}

/** Where SQLite begins to copy a log: PRAGMA wal_autocheckpoint. */
const COPIED_BYTES = 1000 * PAGE_BYTES;
const PREFIX = 'rescued-';
const RESCUED = /^rescued-[0-9a-f]{32}$/;

const UNFINISHED = `SELECT seq, id, exim_id AS eximId, sender, size, state FROM message
  WHERE state IN ${LISTED} ORDER BY seq`;
/** What failed fails again: then its sender is told. */
const WAITING = `SELECT address FROM recipient
  WHERE message = ? AND state IN ('pending', 'failed') ORDER BY position`;
