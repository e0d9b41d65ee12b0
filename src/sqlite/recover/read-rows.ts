import { BTREE, ROOT, type PageFile } from './page-file.ts';
import { PAGE_BYTES } from './wal.ts';

/** A row as SQLite stores it: the columns of its table or index in their order. */
export interface Row {
  /** Undefined in an index and in a table WITHOUT ROWID. */
  rowid?: number;
  values: Value[];
  /** Found below a broken page, and not in its order. */
  outOfOrder?: boolean;
}

export type Value = null | number | string | Buffer;

/**
 * Every row of a table or index that can still be read, given its root page. Undefined stands for a place
 * where rows cannot be read and may be missing. Rows come in their order, except those below a broken page: these
 * are found by the pointer map, and come last.
 */
export function* readRows(file: PageFile, root: number): Generator<Row | undefined> {
  const pointer = file.pointer(root);
  // Of a table that a migration is still to make, another page is in this place.
  if (root > file.pages || (pointer && pointer.type !== ROOT)) return;
  const reached = new Set([root]);
  yield* below(file, root, reached);
  for (let number = 3; number <= file.pages; number += 1) {
    if (reached.has(number) || !isBelow(file, number, reached)) continue;
    for (const part of partsOf(file, number) ?? [])
      if ('row' in part && part.row) yield { ...part.row, outOfOrder: true };
  }
}

/** Rows of a page and of those below it. */
function* below(file: PageFile, number: number, reached: Set<number>): Generator<Row | undefined> {
  const parts = partsOf(file, number);
  if (!parts) yield undefined;
  for (const part of parts ?? []) {
    if ('row' in part) {
      yield part.row;
    } else if (reached.has(part.child) || !isChild(file, part.child, number)) {
      yield undefined;
    } else {
      reached.add(part.child);
      yield* below(file, part.child, reached);
    }
  }
}

/** Whether the pointer map agrees, as far as it can be read: a page that was freed has old rows. */
function isChild(file: PageFile, number: number, parent: number): boolean {
  const pointer = file.pointer(number);
  return !pointer || (pointer.type === BTREE && pointer.parent === parent);
}

/** Whether the pointer map has the page below one of these. */
function isBelow(file: PageFile, number: number, these: ReadonlySet<number>): boolean {
  let pointer = file.pointer(number);
  for (let depth = 0; depth < DEPTH_MAX && pointer?.type === BTREE; depth += 1) {
    if (these.has(pointer.parent)) return true;
    pointer = file.pointer(pointer.parent);
  }
  return false;
}

/** A row, undefined when it cannot be read, or a page below that has the rows in its place. */
type Part = { row: Row | undefined } | { child: number };

/** What a page of a tree holds, in order; undefined when it is no page of a tree. */
function partsOf(file: PageFile, number: number): Part[] | undefined {
  const page = file.page(number);
  const kind = page && KINDS.get(page.readUInt8(0));
  if (!page || !kind) return undefined;
  const start = kind.isInner ? 12 : 8;
  const count = page.readUInt16BE(3);
  if (start + 2 * count > PAGE_BYTES) return undefined;
  const cells = Array.from({ length: count }, (_, nth) => page.readUInt16BE(start + 2 * nth));
  const parts = cells.flatMap((at) => partsOfCell(file, page, at, kind));
  return kind.isInner ? [...parts, { child: page.readUInt32BE(8) }] : parts;
}

/** An inner page of an index has rows as well; that of a table has but pages below. */
function partsOfCell(
  file: PageFile,
  page: Buffer,
  at: number,
  { isInner, isTable }: PageKind,
): Part[] {
  const parts: Part[] = [];
  try {
    if (isInner) parts.push({ child: page.readUInt32BE(at) });
    if (!isInner || !isTable) {
      parts.push({ row: readCell(file, page, isInner ? at + 4 : at, isTable) });
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    parts.push({ row: undefined });
  }
  return parts;
}

/** Throws RangeError when it does not fit its page or its own sizes. */
function readCell(file: PageFile, page: Buffer, at: number, isTable: boolean): Row {
  const cursor = new Cursor(page, at);
  const size = cursor.varint();
  const rowid = isTable ? { rowid: cursor.varint() } : {};
  if (size > file.pages * PAGE_BYTES) throw new RangeError('a row larger than its file');
  const here = bytesOnPage(size, isTable);
  const pieces = [cursor.bytes(here)];
  let next = here < size ? cursor.bytes(4).readUInt32BE(0) : 0;
  for (let left = size - here; left > 0; left -= OVERFLOW_BYTES) {
    const overflow = file.page(next);
    if (!overflow) throw new RangeError('the rest of a row is missing');
    pieces.push(overflow.subarray(4, 4 + Math.min(left, OVERFLOW_BYTES)));
    next = overflow.readUInt32BE(0);
  }
  return { ...rowid, values: readRecord(Buffer.concat(pieces)) };
}

/** How much of a row is on its page; the rest is on overflow pages (file format, section 1.6). */
function bytesOnPage(size: number, isTable: boolean): number {
  const most = isTable ? PAGE_BYTES - 35 : share(64);
  if (size <= most) return size;
  const least = share(32);
  const spilled = least + ((size - least) % OVERFLOW_BYTES);
  return spilled <= most ? spilled : least;
}

function readRecord(record: Buffer): Value[] {
  const header = new Cursor(record, 0);
  const headerSize = header.varint();
  const body = new Cursor(record, headerSize);
  const values: Value[] = [];
  while (header.at < headerSize) values.push(readValue(header.varint(), body));
  if (header.at !== headerSize || body.at !== record.length) throw new RangeError('a torn row');
  return values;
}

function readValue(type: number, body: Cursor): Value {
  if (type === 0) return null;
  if (type === 8 || type === 9) return type - 8;
  if (type >= 12) {
    const bytes = body.bytes(Math.floor((type - 12) / 2));
    return type % 2 === 0 ? bytes : bytes.toString();
  }
  const size = [0, 1, 2, 3, 4, 6, 8][type];
  if (size === undefined) throw new RangeError('no type that this project stores');
  const bytes = body.bytes(size);
  return size === 8 ? Number(bytes.readBigInt64BE()) : bytes.readIntBE(0, size);
}

/** Reads on from a place; RangeError beyond the end. */
class Cursor {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  bytes(size: number): Buffer {
    if (this.at + size > this.#bytes.length) throw new RangeError('beyond the end');
    this.at += size;
    return this.#bytes.subarray(this.at - size, this.at);
  }

  varint(): number {
    let value = 0;
    for (let count = 1; ; count += 1) {
      const byte = this.bytes(1).readUInt8(0);
      if (count === 9) return value * 256 + byte;
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) return value;
    }
  }
}

/** How SQLite divides a page between the rows of an index. */
const share = (part: number) => Math.floor(((PAGE_BYTES - 12) * part) / 255) - 23;

/** The kinds of pages in trees, by their first octet. */
interface PageKind {
  isInner: boolean;
  isTable: boolean;
}
const KINDS: ReadonlyMap<number, PageKind> = new Map([
  [2, { isInner: true, isTable: false }],
  [5, { isInner: true, isTable: true }],
  [10, { isInner: false, isTable: false }],
  [13, { isInner: false, isTable: true }],
]);
/** What an overflow page has of a row, behind the number of the next one. */
const OVERFLOW_BYTES = PAGE_BYTES - 4;
const DEPTH_MAX = 20;
