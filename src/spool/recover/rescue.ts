import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { logLimitBytes, makeFile } from '../../sqlite/open-database.ts';
import { PageFile } from '../../sqlite/recover/page-file.ts';
import { FRAME_BYTES, PAGE_BYTES } from '../../sqlite/recover/wal.ts';
import { readRows } from '../../sqlite/recover/read-rows.ts';
import { isRefusal } from '../../sqlite/is-corruption.ts';
import { readRegularFile } from '../../host/regular-file.ts';
import { syncFolder } from '../../host/sync-folder.ts';
import { decodeAddress } from '../../mail/address.ts';
import { readBody } from '../body.ts';
import { store, type HandOver } from '../enqueue.ts';
import {
  DIGEST,
  EXIM_ID,
  haveFields,
  ID,
  isAddress,
  isMatch,
  type FieldChecks,
  type Fields,
} from '../message-fields.ts';
import { operate } from '../operate.ts';
import { LISTED, spoolFile, type Spool } from '../spool.ts';

/** What is saved of a message before its bytes, as a line of JSON. */
interface Saved {
  id: string;
  eximId: string;
  sender: string;
  recipients: string[];
  isHeld: boolean;
  /** SHA-256 of the bytes in hex; files of earlier versions do not have it. */
  digest?: string;
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
      for (const { seq, size, sender, state, digest, ...ids } of spool
        .sql<Row>(UNFINISHED)
        .iterate()) {
        if (known.has(ids.id)) continue;
        const recipients = spool.db
          .prepare<[number], Buffer>(WAITING)
          .pluck()
          .all(seq)
          .map((address) => decodeAddress(address));
        const saved: Saved = {
          ...ids,
          sender: decodeAddress(sender),
          recipients,
          isHeld: state === 'held',
          digest: digest.toString('hex'),
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
 * Anybody who may write to the spool's folder can put a file there: `unreadable` is told of one that is not as rescue
 * wrote it, or whose message the spool refuses; it is kept under another name, and holds up no mail.
 */
export function adoptRescued(
  spool: Spool,
  now: number,
  unreadable: (file: string) => void,
): number {
  let adopted = 0;
  for (const name of readdirSync(spool.folder)) {
    if (!RESCUED.test(name)) continue;
    const file = join(spool.folder, name);
    const saved = readSaved(file);
    const stored = saved && storeUnlessRefused(spool, saved, now);
    if (!stored) {
      unreadable(setAside(file));
      continue;
    }
    if (saved.isHeld) operate(spool, saved.id, { verb: 'hold', now });
    if (!stored.already) adopted += 1;
    rmSync(file);
  }
  return adopted;
}

/** A message of such a file. */
type Adoptable = HandOver & Pick<Saved, 'id' | 'isHeld'>;

/** Undefined for what is not a whole file of rescue, or only has the name of one. */
function readSaved(file: string): Adoptable | undefined {
  try {
    const content = readRegularFile(file, true);
    const end = content.indexOf('\n');
    const fields = Object(JSON.parse(content.toString('utf8', 0, end))) as Fields;
    if (!haveFields(fields, SAVED_FIELDS)) return undefined;
    const { id, eximId, sender, recipients, isHeld } = fields;
    const bytes = content.subarray(end + 1);
    const digest = createHash('sha256').update(bytes).digest();
    const hex = digest.toString('hex');
    if ((fields.digest ?? hex) !== hex) return undefined;
    return { id, eximId, envelope: { sender, recipients }, pieces: [bytes], digest, isHeld };
  } catch {
    return undefined; // It cannot be read, or is not JSON.
  }
}

const SAVED_FIELDS: FieldChecks<Saved> = {
  id: (value) => isMatch(value, ID),
  eximId: (value) => isMatch(value, EXIM_ID),
  sender: isAddress,
  recipients: (value) => Array.isArray(value) && value.length > 0 && value.every(isAddress),
  isHeld: (value) => typeof value === 'boolean',
  digest: (value) => value === undefined || isMatch(value, DIGEST),
};

function storeUnlessRefused(
  spool: Spool,
  { id, ...handOver }: Adoptable,
  now: number,
): ReturnType<typeof store> | undefined {
  try {
    return store(spool, handOver, now, id);
  } catch (error) {
    if (isRefusal(error)) return undefined; // Another message has its id.
    throw error;
  }
}

/** Gives a file another name, where it can; returns its name. */
function setAside(file: string): string {
  try {
    renameSync(file, `${file}.damaged`);
    return `${file}.damaged`;
  } catch {
    return file; // A folder may have the other name, or somebody has removed the file.
  }
}

interface Row {
  seq: number;
  id: string;
  eximId: string;
  sender: Buffer;
  size: number;
  state: string;
  digest: Buffer;
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
 * Whether a new log may have been copied into the file: SQLite does so when it has a thousand frames, where nobody says
 * otherwise, and this program on a small disk earlier. SQLite counts in the log's header how often it was used anew since
 * (file format, 4.1).
 */
function logWasCopied(file: string): boolean {
  const log = readFileSync(`${file}-wal`);
  const copiedBytes = Math.min(COPIED_BYTES, logLimitBytes(dirname(file)) - FRAME_BYTES);
  return log.readUInt32BE(12) > 0 || log.length > copiedBytes;
}

function writeDurably(file: string, content: Buffer): void {
  makeFile(file);
  writeFileSync(file, content, { flush: true });
}

/** Where others begin to copy a log, such as sqlite3 or an earlier version of this program: PRAGMA wal_autocheckpoint. */
const COPIED_BYTES = 1000 * PAGE_BYTES;
const PREFIX = 'rescued-';
const RESCUED = /^rescued-[0-9a-f]{32}$/;

const UNFINISHED = `SELECT seq, id, exim_id AS eximId, sender, size, state, digest FROM message
  WHERE state IN ${LISTED} ORDER BY seq`;
/** What failed fails again: then its sender is told. */
const WAITING = `SELECT address FROM recipient
  WHERE message = ? AND state IN ('pending', 'failed') ORDER BY position`;
