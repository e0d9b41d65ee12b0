import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { committedFrames, framesNeeded, INDEX_BYTES, PAGE_BYTES } from './wal.ts';

/**
 * The pages of a SQLite file, whatever their state, as its readers would see them: a page that is
 * committed in the write-ahead log counts, and not that of the file. For a file that SQLite itself finds
 * damaged, and that nobody changes meanwhile.
 *
 * Only for files that openDatabase made: pages of 4096 bytes, little-endian log, auto_vacuum, so that
 * every page but the first is known by a pointer map. See SQLite's file format, sections 1 and 4.
 */
export class PageFile {
  readonly #fd: number;
  readonly #log: number | undefined;
  readonly #file: string;
  /** Where the latest committed version of a page is in the log. */
  #logged = new Map<number, number>();
  /** The pages of the pointer map that were asked; undefined for those that are not to be believed. */
  readonly #maps = new Map<number, Buffer | undefined>();
  /** How many pages the file has. */
  #pages = 0;
  /** Whether the log has lost commits that were acknowledged: SQLite passes over what it lacks. */
  readonly logIsCut: boolean;

  /** Throws what the file system says. Closing it drops the locks of this process on the file. */
  constructor(file: string) {
    this.#fd = openSync(file, OWN);
    this.#log = openIfThere(`${file}-wal`);
    this.#pages = Math.ceil(fstatSync(this.#fd).size / PAGE_BYTES);
    this.#file = file;
    this.logIsCut = this.#readLog();
  }

  get pages(): number {
    return this.#pages;
  }

  /** The bytes of a page, numbered from 1; undefined when the file does not have them all. */
  page(number: number): Buffer | undefined {
    if (!(number >= 1 && number <= this.#pages)) return undefined;
    const logged = this.#logged.get(number);
    return logged === undefined
      ? read(this.#fd, (number - 1) * PAGE_BYTES, PAGE_BYTES)
      : read(this.#log ?? -1, logged, PAGE_BYTES);
  }

  /** What the pointer map says of a page; undefined for what has no entry that can be read. */
  pointer(number: number): { type: number; parent: number } | undefined {
    const map = mapOf(number);
    if (number < 3 || number <= map) return undefined;
    if (!this.#maps.has(map)) this.#maps.set(map, this.#soundMap(map));
    const bytes = this.#maps.get(map);
    const at = 5 * (number - map - 1);
    return bytes && { type: bytes.readUInt8(at), parent: bytes.readUInt32BE(at + 1) };
  }

  /** A page of the pointer map; undefined when one of its entries cannot be true: then none is believed. */
  #soundMap(map: number): Buffer | undefined {
    const bytes = this.page(map);
    if (!bytes) return undefined;
    const last = Math.min(this.#pages, map + MAP_ENTRIES);
    // A file that was cut off says in its header how many pages it had.
    const pages = Math.max(this.#pages, this.page(1)?.readUInt32BE(28) ?? 0);
    for (let number = map + 1; number <= last; number += 1) {
      if (number === LOCK_PAGE) continue;
      const at = 5 * (number - map - 1);
      const type = bytes.readUInt8(at);
      const parent = bytes.readUInt32BE(at + 1);
      if (type < ROOT || type > BTREE || parent > pages) return undefined;
    }
    return bytes;
  }

  /** Writes into the file what the log has, and removes the log. A crash leaves either in force. */
  checkpoint(): void {
    for (const number of this.#logged.keys()) {
      const bytes = this.page(number);
      if (bytes) writeSync(this.#fd, bytes, 0, PAGE_BYTES, (number - 1) * PAGE_BYTES);
    }
    fsyncSync(this.#fd);
    this.#logged.clear();
    // The one without the other would say that the log was cut off.
    rmSync(`${this.#file}-shm`, { force: true });
    rmSync(`${this.#file}-wal`, { force: true });
  }

  close(): void {
    closeSync(this.#fd);
    if (this.#log !== undefined) closeSync(this.#log);
  }

  /** Finds what the log has; returns whether it has lost commits. */
  #readLog(): boolean {
    const log = this.#log;
    const found =
      log === undefined
        ? undefined
        : committedFrames((at, length) => read(log, at, length), fstatSync(log).size);
    const needed = framesShared(`${this.#file}-shm`, found?.salt);
    if (!found) return needed > 0;
    this.#logged = found.pages;
    this.#pages = found.pageCount ?? this.#pages;
    // The last commit may be what a power cut left of one that nobody was told of.
    return found.commitsBehind > 1 || found.wholeFrames < needed;
  }
}

/** Types of pages in the pointer map. */
export const ROOT = 1;
export const BTREE = 5;

/** The page of the pointer map that has the entry of a page. */
function mapOf(number: number): number {
  const map = number - ((number - 2) % (MAP_ENTRIES + 1));
  return map === LOCK_PAGE ? map + 1 : map;
}

/** What framesNeeded says of the index that a log's users share; 0 where they left none. */
function framesShared(shm: string, salt: Buffer | undefined): number {
  const fd = openIfThere(shm);
  if (fd === undefined) return 0;
  const index = read(fd, 0, INDEX_BYTES);
  closeSync(fd);
  return index ? framesNeeded(index, salt) : 0;
}

function openIfThere(file: string): number | undefined {
  try {
    return openSync(file, OWN);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Undefined beyond the end, and where the disk has lost the bytes. */
function read(fd: number, position: number, length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  try {
    return readSync(fd, bytes, 0, length, position) === length ? bytes : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EIO') return undefined;
    throw error;
  }
}

/** Through a link root would change a file of somebody else. */
const OWN = constants.O_RDWR | constants.O_NOFOLLOW;
const MAP_ENTRIES = Math.floor(PAGE_BYTES / 5);
/** The page of SQLite's lock bytes holds nothing. */
const LOCK_PAGE = 0x4000_0000 / PAGE_BYTES + 1;
