import { isDeepStrictEqual } from 'node:util';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { keyFaults, type KeyFault } from '../../host/key-faults.ts';
import { parseSetting } from '../../host/options.ts';
import { readRegularFile } from '../../host/regular-file.ts';
import { findSetting, firstLine, type Setting } from '../../host/settings.ts';
import { keyHint } from '../../wire/sign.ts';
import { parseAllowedSenders, type AllowedSenders } from './allowed-senders.ts';
import { keyLines } from './key-lines.ts';

/** A key, whose it is and whom its users may send as. */
export interface Key {
  secret: Buffer;
  /** Of the host; keys with the same name are those of one host, while it exchanges them. '': it has none. */
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
  /** Of the keys, in their order; made when a client hints at one. */
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

  /** The keys that a client hints at (keyHint): all of them where it does not. */
  hinted(hint: string | readonly string[] | undefined): readonly Key[] {
    if (hint === undefined) return this.#found.keys;
    this.#hints ??= this.#found.keys.map(({ secret }) => keyHint(secret));
    return this.#found.keys.filter((_, at) => this.#hints?.[at] === hint);
  }

  /** Reads the keys again, and says whether they are others now. What it throws leaves the old ones. */
  reload(): boolean {
    const before = this.#found;
    this.#found = this.#read();
    this.#hints = undefined;
    return !isDeepStrictEqual(before.keys, this.#found.keys);
  }
}

/**
 * Reads the keys of a file, one a line, or without one those of GMAIL_SECRET_KEYS, or the one of
 * GMAIL_SECRET_KEY. Throws Failure 78 when there is none, or the file cannot be read.
 */
export function readKeys(keysFile: string | undefined): FoundKeys {
  const sources = { environment: process.env, folder: '.' };
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
      ? 'there is no key: put one a line into --keys-file or GMAIL_SECRET_KEYS'
      : `there is no key in ${found.file}: put one a line into it`,
  );
}

/** A key, and where it is. */
interface PlacedKey {
  key: Key;
  place: string;
}

/**
 * Reads keys, one a line, with what `# name` and `# allow-sender` say of the key that follows. Throws Failure 78.
 */
function parseKeys({ bytes, file = 'GMAIL_SECRET_KEYS' }: Setting): PlacedKey[] {
  const placed = new Map<string, PlacedKey>();
  let [name, senders]: [string, string[]] = ['', []];
  for (const line of keyLines(bytes, file)) {
    const place = `line ${line.number} of ${file}`;
    if (line.kind === 'allow-sender') senders.push(line.value);
    else if (line.kind === 'name') {
      if (name !== '') throw wrong(place, 'is a second # name of the same key');
      if (!KEY_NAME.test(line.value)) throw wrong(place, `has no name: ${KEY_NAME_RULE}`);
      name = line.value;
    } else {
      const allowedSenders =
        senders.length > 0
          ? parseSetting(`# allow-sender above ${place}`, senders.join(' '), parseAllowedSenders)
          : undefined;
      const key = { secret: line.secret, name, allowedSenders };
      const text = line.secret.toString('latin1');
      const other = placed.get(text);
      if (other && !isDeepStrictEqual(other.key, key)) {
        throw wrong(place, `has the key of ${other.place} again, with another name or senders`);
      }
      if (!other) placed.set(text, { key, place });
      [name, senders] = ['', []];
    }
  }
  const dangling = senders.length > 0 ? '# allow-sender' : name === '' ? undefined : '# name';
  if (dangling === undefined) return [...placed.values()];
  throw new CommandError(
    exitCodes.configuration,
    `there is no key after the last ${dangling} of ${file}`,
  );
}

/** A single key is read as drain reads it: a # is its first character. */
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

/** Without a slash, which the ledger puts behind it; a file's name may begin with it. */
const KEY_NAME = /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/;
const KEY_NAME_RULE = 'it is 1 to 64 of 0-9 A-Z a-z . _ -, and begins with a letter or a digit';
