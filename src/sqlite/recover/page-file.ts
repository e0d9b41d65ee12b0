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
  readonly #file: string;
  /** Where the latest committed version of a page is in the log. */
  readonly #logged = new Map<number, number>();
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

  /** A page of the pointer map whose entries can all be true: one that cannot, and none is to be believed. */
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

  /** Finds the frames that are committed; returns whether there were more. */
  #readLog(): boolean {
    const log = this.#log;
    const header = log === undefined ? undefined : read(log, 0, LOG_HEADER_BYTES);
    if (log === undefined || !header) return framesShared(`${this.#file}-shm`) > 0;
    const slots = Math.floor((fstatSync(log).size - LOG_HEADER_BYTES) / FRAME_BYTES);
    const frameAt = (slot: number) => LOG_HEADER_BYTES + slot * FRAME_BYTES;
    let sum = checksum(header.subarray(0, 24), [0, 0]);
    let broken = header.readUInt32BE(0) !== LOG_MAGIC || !isSum(sum, header, 24);
    // Frames of an earlier use of the log have another salt. Of a lost header the last frame tells it.
    const last = read(log, frameAt(slots - 1), FRAME_HEADER_BYTES);
    const salt = broken ? last?.subarray(8, 16) : header.subarray(16, 24);

    const found = new Map<number, number>();
    let [frames, behind] = [0, 0];
    for (let slot = 0; slot < slots; slot += 1) {
      const frame = read(log, frameAt(slot), FRAME_BYTES);
      const isOurs = salt !== undefined && frame?.subarray(8, 16).equals(salt);
      const pages = frame?.readUInt32BE(4) ?? 0;
      if (frame && !broken) {
        sum = checksum(frame.subarray(FRAME_HEADER_BYTES), checksum(frame.subarray(0, 8), sum));
        broken = !isOurs || !isSum(sum, frame, 16);
      }
      if (!frame || broken) {
        behind += Number(isOurs && pages > 0);
        continue;
      }
      frames += 1;
      found.set(frame.readUInt32BE(0), frameAt(slot) + FRAME_HEADER_BYTES);
      if (pages === 0) continue;
      for (const [number, where] of found) this.#logged.set(number, where);
      found.clear();
      this.#pages = pages;
    }
    // The last commit may be what a power cut left of one that nobody was told of.
    return behind > 1 || frames < framesShared(`${this.#file}-shm`, salt);
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

/**
 * How many frames of the log its users needed, by what they shared: 0 when they left nothing, or all of them
 * are in the file. With a salt only what they shared of that use of the log counts.
 */
function framesShared(shm: string, salt?: Buffer): number {
  const fd = openIfThere(shm);
  if (fd === undefined) return 0;
  const index = read(fd, 0, INDEX_BYTES);
  closeSync(fd);
  if (!index || (salt && !index.subarray(32, 40).equals(salt))) return 0;
  const [frames, inFile] = [index.readUInt32LE(16), index.readUInt32LE(96)];
  return frames > inFile ? frames : 0;
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

/** Through a link root would change a file of somebody else. */
const OWN = constants.O_RDWR | constants.O_NOFOLLOW;
const MAP_ENTRIES = Math.floor(PAGE_BYTES / 5);
/** The page of SQLite's lock bytes holds nothing. */
const LOCK_PAGE = 0x4000_0000 / PAGE_BYTES + 1;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES;
/** Its header, twice, and how many frames are in the file. */
const INDEX_BYTES = 100;
const LOG_MAGIC = 0x377f0682;
