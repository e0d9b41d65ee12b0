import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';

/**
 * The pages of a SQLite file, whatever their state, as its readers would see them: those that are
 * committed in the write-ahead log come before those of the file. For a file that SQLite itself finds
 * damaged, and that nobody changes meanwhile.
 *
 * Only for files that openDatabase made: pages of 4096 bytes, little-endian log, auto_vacuum, so that
 * every page but the first is known by a pointer map. See SQLite's file format, sections 1 and 4.
 */
export class PageFile {
  readonly #fd: number;
  readonly #log: number | undefined;
  /** Where the latest committed version of a page is in the log. */
  readonly #logged = new Map<number, number>();
  /** The page of the pointer map that was asked last. */
  #map: { number: number; bytes: Buffer | undefined } | undefined;
  /** How many pages the file has. */
  #pages = 0;
  /** Whether the log has lost frames of commits that were acknowledged: SQLite passes over what it lacks. */
  readonly logIsCut: boolean;

  /** Throws what the file system says. Closing it drops the locks of this process on the file. */
  constructor(file: string) {
    this.#fd = openSync(file, 'r+');
    this.#log = openIfThere(`${file}-wal`);
    this.#pages = Math.ceil(fstatSync(this.#fd).size / PAGE_BYTES);
    this.logIsCut = this.#log !== undefined && this.#readLog(this.#log, `${file}-shm`);
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
    if (this.#map?.number !== map) this.#map = { number: map, bytes: this.#soundMap(map) };
    const at = 5 * (number - map - 1);
    const { bytes } = this.#map;
    return bytes && { type: bytes.readUInt8(at), parent: bytes.readUInt32BE(at + 1) };
  }

  /** A page of the pointer map whose entries can all be true: one that cannot, and none is to be believed. */
  #soundMap(map: number): Buffer | undefined {
    const bytes = this.page(map);
    if (!bytes) return undefined;
    const last = Math.min(this.#pages, map + MAP_ENTRIES);
    for (let number = map + 1; number <= last; number += 1) {
      if (number === LOCK_PAGE) continue;
      const at = 5 * (number - map - 1);
      const type = bytes.readUInt8(at);
      const parent = bytes.readUInt32BE(at + 1);
      if (type < ROOT || type > BTREE || parent > this.#pages) return undefined;
    }
    return bytes;
  }

  /** Writes into the file what the log has, and empties the log. A crash leaves either in force. */
  checkpoint(): void {
    if (this.#log === undefined) return;
    for (const number of this.#logged.keys()) {
      const bytes = this.page(number);
      if (bytes) writeSync(this.#fd, bytes, 0, PAGE_BYTES, (number - 1) * PAGE_BYTES);
    }
    fsyncSync(this.#fd);
    this.#logged.clear();
    ftruncateSync(this.#log);
    fsyncSync(this.#log);
  }

  close(): void {
    closeSync(this.#fd);
    if (this.#log !== undefined) closeSync(this.#log);
  }

  /** Finds the frames that are committed; returns whether there were more. */
  #readLog(log: number, shm: string): boolean {
    const header = read(log, 0, LOG_HEADER_BYTES);
    if (header?.readUInt32BE(0) !== LOG_MAGIC) return false;
    const salt = header.subarray(16, 24);
    let sum = checksum(header.subarray(0, 24), [0, 0]);
    if (!isSum(sum, header, 24)) return false;

    const found = new Map<number, number>();
    let [frames, broken, behind] = [0, false, 0];
    for (let at = LOG_HEADER_BYTES; ; at += FRAME_HEADER_BYTES + PAGE_BYTES) {
      const frame = read(log, at, FRAME_HEADER_BYTES + PAGE_BYTES);
      // Frames of an earlier use of the log have another salt.
      if (!frame?.subarray(8, 16).equals(salt)) break;
      const pages = frame.readUInt32BE(4);
      sum = checksum(frame.subarray(FRAME_HEADER_BYTES), checksum(frame.subarray(0, 8), sum));
      broken ||= !isSum(sum, frame, 16);
      if (broken) {
        behind += Number(pages > 0);
        continue;
      }
      frames += 1;
      found.set(frame.readUInt32BE(0), at + FRAME_HEADER_BYTES);
      if (pages === 0) continue;
      for (const [number, where] of found) this.#logged.set(number, where);
      found.clear();
      this.#pages = pages;
    }
    // The last commit may be what a power cut left of one that nobody was told of.
    return behind > 1 || frames < framesKnown(shm, salt);
  }
}

export const PAGE_BYTES = 4096;

/** Types of pages in the pointer map. */
export const ROOT = 1;
export const BTREE = 5;

/** The page of the pointer map that has the entry of a page. */
function mapOf(number: number): number {
  const map = number - ((number - 2) % (MAP_ENTRIES + 1));
  return map === LOCK_PAGE ? map + 1 : map;
}

/** How many frames of the log are committed, by what its users shared; 0 when they left nothing. */
function framesKnown(shm: string, salt: Buffer): number {
  const fd = openIfThere(shm);
  if (fd === undefined) return 0;
  const index = read(fd, 0, INDEX_HEADER_BYTES);
  closeSync(fd);
  return index?.subarray(32, 40).equals(salt) ? index.readUInt32LE(16) : 0;
}

function openIfThere(file: string): number | undefined {
  try {
    return openSync(file, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function read(fd: number, position: number, length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  return readSync(fd, bytes, 0, length, position) === length ? bytes : undefined;
}

type Sum = readonly [number, number];

function checksum(bytes: Buffer, [first, second]: Sum): Sum {
  for (let at = 0; at < bytes.length; at += 8) {
    first = (first + bytes.readUInt32LE(at) + second) >>> 0;
    second = (second + bytes.readUInt32LE(at + 4) + first) >>> 0;
  }
  return [first, second];
}

function isSum([first, second]: Sum, bytes: Buffer, at: number): boolean {
  return bytes.readUInt32BE(at) === first && bytes.readUInt32BE(at + 4) === second;
}

const MAP_ENTRIES = Math.floor(PAGE_BYTES / 5);
/** The page of SQLite's lock bytes holds nothing. */
const LOCK_PAGE = 0x4000_0000 / PAGE_BYTES + 1;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const INDEX_HEADER_BYTES = 48;
const LOG_MAGIC = 0x377f0682;
