import { isDeepStrictEqual } from 'node:util';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { keyFaults, type KeyFault } from '../../host/key-faults.ts';
import { parseSetting } from '../../host/options.ts';
import { readRegularFile } from '../../host/regular-file.ts';
import { findSetting, firstLine, workingFolder, type Setting } from '../../host/settings.ts';
import { keyHint } from '../../wire/sign.ts';
import { parseAllowedSenders, type AllowedSenders } from './allowed-senders.ts';
import { keyLines, type KeyLine } from './key-lines.ts';

/** A key, the host that it belongs to, and the senders that its users may send as. */
export interface Key {
  secret: Buffer;
  /** The name of the host, '' for none. Keys with the same name belong to one host, while it changes its key. */
  name: string;
  /** Undefined: as the proxy's own rules say. */
  allowedSenders: AllowedSenders | undefined;
}

/** Keys, and the file that they were read from, if any. */
export interface FoundKeys {
  keys: readonly Key[];
  file?: string | undefined;
  /** What is wrong with keys that work all the same. */
  faults: readonly KeyFault[];
}

/** The keys that are in force, all at once. */
export class Keyring {
  readonly #read: () => FoundKeys;
  #found: FoundKeys;
  /** The hints of the keys, in their order; computed when a client first hints at one. */
  #hints: string[] | undefined;

  /** `read` is called now and at each reload; what it throws now is thrown. */
  constructor(read: () => FoundKeys) {
    this.#read = read;
    this.#found = read();
  }

  get size(): number {
    return this.#found.keys.length;
  }

  get file(): string | undefined {
    return this.#found.file;
  }

  get faults(): readonly KeyFault[] {
    return this.#found.faults;
  }

  get keys(): readonly Key[] {
    return this.#found.keys;
  }

  /** The keys that a client hints at (keyHint): all of them when it gives no hint. */
  hinted(hint: string | readonly string[] | undefined): readonly Key[] {
    if (hint === undefined) return this.#found.keys;
    this.#hints ??= this.#found.keys.map(({ secret }) => keyHint(secret));
    return this.#found.keys.filter((_, at) => this.#hints?.[at] === hint);
  }

  /** Reads the keys again, and says whether they have changed. When it throws, the old ones stay in force. */
  reload(): boolean {
    const before = this.#found;
    this.#found = this.#read();
    this.#hints = undefined;
    return !isDeepStrictEqual(before.keys, this.#found.keys);
  }
}

/**
 * Reads the keys of a file, one a line, or without one those of GMAIL_SECRET_KEYS, or the one of
 * GMAIL_SECRET_KEY. Throws CommandError 78 when there is none, or the file cannot be read.
 */
export function readKeys(keysFile: string | undefined): FoundKeys {
  const sources = { environment: process.env, folder: workingFolder() };
  const several =
    keysFile === undefined ? findSetting('GMAIL_SECRET_KEYS', sources) : fileOf(keysFile);
  const found = several ?? findSetting('GMAIL_SECRET_KEY', sources);
  const placed = several ? parseKeys(several) : found ? singleKey(found.bytes) : [];
  if (found && placed.length > 0) {
    const named = placed.map(({ key, place }) => ({
      secret: key.secret,
      called: key.name === '' ? place : `${key.name} (${place})`,
    }));
    const faults = keyFaults(named, found);
    return { keys: placed.map(({ key }) => key), file: found.file, faults };
  }
  throw new CommandError(
    exitCodes.configuration,
    found?.file === undefined
      ? 'there is no key: put one on each line of --keys-file or GMAIL_SECRET_KEYS'
      : `there is no key in ${found.file}: put one on each line of it`,
  );
}

/** A key, and the line that it is in. */
interface PlacedKey {
  key: Key;
  place: string;
}

/** Reads keys, one a line, each with the directives before it (keyLines). Throws CommandError 78. */
function parseKeys({ bytes, file = 'GMAIL_SECRET_KEYS' }: Setting): PlacedKey[] {
  const placed = new Map<string, PlacedKey>();
  let directives = NO_DIRECTIVES;
  for (const line of keyLines(bytes, file)) {
    const place = `line ${line.number} of ${file}`;
    if (line.kind === 'key') {
      addKey(placed, { key: keyOf(line.secret, directives, place), place });
      directives = NO_DIRECTIVES;
    } else directives = withDirective(directives, line, place);
  }
  const { name, senders } = directives;
  if (name === '' && senders.length === 0) return [...placed.values()];
  const last = senders.length > 0 ? '# allow-sender' : '# name';
  const text = `there is no key after the last ${last} of ${file}`;
  throw new CommandError(exitCodes.configuration, text);
}

/** What `# name` and `# allow-sender` say of the key that follows. */
interface Directives {
  name: string;
  senders: readonly string[];
}

const NO_DIRECTIVES: Directives = { name: '', senders: [] };

function withDirective(
  { name, senders }: Directives,
  { kind, value }: Exclude<KeyLine, { kind: 'key' }>,
  place: string,
): Directives {
  if (kind === 'allow-sender') return { name, senders: [...senders, value] };
  if (name !== '') throw wrong(place, 'is a second # name of the same key');
  if (!KEY_NAME.test(value)) throw wrong(place, `has no name: ${KEY_NAME_RULE}`);
  return { name: value, senders };
}

function keyOf(secret: Buffer, { name, senders }: Directives, place: string): Key {
  if (senders.length === 0) return { secret, name, allowedSenders: undefined };
  const called = `# allow-sender above ${place}`;
  return {
    secret,
    name,
    allowedSenders: parseSetting(called, senders.join(' '), parseAllowedSenders),
  };
}

/** A key may be there twice, but not with different directives. */
function addKey(placed: Map<string, PlacedKey>, added: PlacedKey): void {
  const secret = added.key.secret.toString('latin1');
  const other = placed.get(secret);
  if (!other) placed.set(secret, added);
  else if (!isDeepStrictEqual(other.key, added.key)) {
    const why = `has the key of ${other.place} again, with another name or senders`;
    throw wrong(added.place, why);
  }
}

/** A single key is read as drain reads it: a # at its beginning belongs to it. */
function singleKey(bytes: Buffer): PlacedKey[] {
  const secret = firstLine(bytes);
  if (secret.length === 0) return [];
  return [{ key: { secret, name: '', allowedSenders: undefined }, place: 'GMAIL_SECRET_KEY' }];
}

function wrong(place: string, why: string): CommandError {
  return new CommandError(exitCodes.configuration, `${place} ${why}`);
}

function fileOf(file: string): Setting {
  try {
    return { bytes: readRegularFile(file), file };
  } catch (error) {
    throw new CommandError(
      exitCodes.configuration,
      `cannot use ${file}: ${(error as Error).message}`,
    );
  }
}

/** It has no slash, since the ledger writes one after it, and it may be the beginning of a file name. */
const KEY_NAME = /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/;
const KEY_NAME_RULE = 'it is 1 to 64 of 0-9 A-Z a-z . _ -, and begins with a letter or a digit';
