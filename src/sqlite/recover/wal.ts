/** Reads bytes of a file at a place; undefined beyond its end, and where the disk has lost them. */
export type Reader = (position: number, length: number) => Buffer | undefined;

/** What a write-ahead log holds. */
export interface CommittedFrames {
  /** Where the latest committed version of each page is in the log, in bytes, by the number of the page. */
  pages: Map<number, number>;
  /** How many pages the database has after the last commit; undefined when nothing is committed. */
  pageCount: number | undefined;
  /** How many frames from the first on are whole, whether they are committed or not. */
  wholeFrames: number;
  /** Commits of this use of the log at or behind the first frame that is not whole. SQLite passes over them. */
  commitsBehind: number;
  /** What all frames of this use of the log carry; frames of an earlier use have another. */
  salt: Buffer | undefined;
}

/**
 * Finds the frames of a write-ahead log that are committed (SQLite's file format, section 4). `size` is that of the log
 * in bytes. Undefined for a log without a header. Only for logs of openDatabase: checksums of little-endian words.
 */
export function committedFrames(read: Reader, size: number): CommittedFrames | undefined {
  const header = read(0, LOG_HEADER_BYTES);
  if (!header) return undefined;
  const slots = Math.floor((size - LOG_HEADER_BYTES) / FRAME_BYTES);
  const sum = checksum(header.subarray(0, 24), [0, 0]);
  const isSound = header.readUInt32BE(0) === LOG_MAGIC && isSum(sum, header, 24);
  // Where the header is lost, the last frame tells the salt.
  const last = read(frameAt(slots - 1), FRAME_HEADER_BYTES);
  const salt = isSound ? header.subarray(16, 24) : last?.subarray(8, 16);

  const found: CommittedFrames = {
    pages: new Map(),
    pageCount: undefined,
    wholeFrames: 0,
    commitsBehind: 0,
    salt,
  };
  const open = new Map<number, number>();
  for (const frame of isSound && salt ? wholeFrames(read, slots, { salt, sum }) : []) {
    open.set(frame.readUInt32BE(0), frameAt(found.wholeFrames) + FRAME_HEADER_BYTES);
    found.wholeFrames += 1;
    const pageCount = pagesAfter(frame);
    if (pageCount === 0) continue;
    for (const [number, at] of open) found.pages.set(number, at);
    open.clear();
    found.pageCount = pageCount;
  }
  found.commitsBehind = countCommits(read, found.wholeFrames, slots, salt);
  return found;
}

/**
 * How many frames of a log its users need, by the index that they share (-shm): 0 when all of them are in the file
 * already. With a salt, only an index of that use of the log counts.
 */
export function framesNeeded(index: Buffer, salt?: Buffer): number {
  if (salt && !index.subarray(32, 40).equals(salt)) return 0;
  const [frames, inFile] = [index.readUInt32LE(16), index.readUInt32LE(96)];
  return frames > inFile ? frames : 0;
}

/** The frames up to the first that is not whole: its checksum continues that of the frame before it. */
function* wholeFrames(
  read: Reader,
  slots: number,
  { salt, sum: start }: { salt: Buffer; sum: Sum },
): Generator<Buffer> {
  let sum = start;
  for (let slot = 0; slot < slots; slot += 1) {
    const frame = read(frameAt(slot), FRAME_BYTES);
    if (!frame || !saltOf(frame).equals(salt)) return;
    sum = checksum(frame.subarray(FRAME_HEADER_BYTES), checksum(frame.subarray(0, 8), sum));
    if (!isSum(sum, frame, 16)) return;
    yield frame;
  }
}

function countCommits(read: Reader, from: number, slots: number, salt: Buffer | undefined): number {
  let commits = 0;
  for (let slot = from; slot < slots; slot += 1) {
    const header = read(frameAt(slot), FRAME_HEADER_BYTES);
    if (header && salt && saltOf(header).equals(salt) && pagesAfter(header) > 0) commits += 1;
  }
  return commits;
}

/** How many pages the database has after the commit that a frame ends; 0 when it ends none. */
function pagesAfter(frame: Buffer): number {
  return frame.readUInt32BE(4);
}

function saltOf(frame: Buffer): Buffer {
  return frame.subarray(8, 16);
}

function frameAt(slot: number): number {
  return LOG_HEADER_BYTES + slot * FRAME_BYTES;
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

/** The size of a page in every file of this project. */
export const PAGE_BYTES = 4096;
/** What framesNeeded reads of an index: its header, twice, and how many frames are in the file. */
export const INDEX_BYTES = 100;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** What a page takes in the log. */
export const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES;
const LOG_MAGIC = 0x377f0682;
