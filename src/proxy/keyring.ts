import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { exitCodes, Failure } from '../host/failure.ts';
import { findSetting, firstLine, lines, type Setting } from '../host/settings.ts';
import { parseAllowedSenders, type AllowedSenders } from './allowed-senders.ts';

/** A key, and whom its users may send as; undefined: as the proxy's own rules say. */
export interface Key {
  secret: Buffer;
  allowedSenders: AllowedSenders | undefined;
}

/** Keys, and the file that they were read from, if any. */
export interface FoundKeys {
  keys: readonly Key[];
  file?: string | undefined;
}

/** The keys that are in force, all at once. */
export class Keyring {
  readonly #read: () => FoundKeys;
  #found: FoundKeys;

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

  /** The key whose secret `verify` finds to be the right one. */
  find(verify: (secrets: readonly Buffer[]) => Buffer | undefined): Key | undefined {
    const { keys } = this.#found;
    const secret = verify(keys.map((key) => key.secret));
    return keys.find((key) => key.secret === secret);
  }

  /** Reads the keys again, and says whether they are others now. What it throws leaves the old ones. */
  reload(): boolean {
    const before = this.#found;
    this.#found = this.#read();
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
  const keys = several ? parseKeys(several) : found ? singleKey(found.bytes) : [];
  if (keys.length > 0) return { keys, file: found?.file };
  throw new Failure(
    exitCodes.configuration,
    found?.file === undefined
      ? 'there is no key: put one a line into --keys-file or GMAIL_SECRET_KEYS'
      : `there is no key in ${found.file}: put one a line into it`,
  );
}

/**
 * Reads keys, one a line. Blank lines and those that begin with # are none; `# allow-sender @example.com
 * me@example.org` is the list of senders of the key that follows. Throws Failure 78.
 */
export function parseKeys({ bytes, file = 'GMAIL_SECRET_KEYS' }: Setting): Key[] {
  if (NOT_TEXT.test(bytes.toString('latin1'))) {
    throw new Failure(
      exitCodes.configuration,
      `the keys are not lines of text: there is a byte order mark or a control character in ${file}`,
    );
  }
  const keys: Key[] = [];
  let senders: string[] = [];
  for (const line of lines(bytes)) {
    const [, list] = ALLOW_SENDER.exec(line.toString()) ?? [];
    if (list !== undefined) senders.push(list);
    else if (ALMOST_ALLOW_SENDER.test(line.toString())) {
      throw new Failure(
        exitCodes.configuration,
        `a line of ${file} is almost, and not, # allow-sender ADDRESS: ${line.toString()}`,
      );
    } else if (line.length > 0 && line[0] !== HASH) {
      const allowedSenders =
        senders.length > 0 ? parseAllowedSenders(senders.join(' ')) : undefined;
      keys.push({ secret: line, allowedSenders });
      senders = [];
    }
  }
  if (senders.length === 0) return keys;
  throw new Failure(
    exitCodes.configuration,
    `there is no key after the last # allow-sender of ${file}`,
  );
}

/** A single key is read as drain reads it: a # is its first character. */
function singleKey(bytes: Buffer): Key[] {
  const secret = firstLine(bytes);
  return secret.length > 0 ? [{ secret, allowedSenders: undefined }] : [];
}

function fileOf(file: string): Setting {
  try {
    return { bytes: readFileSync(file), file };
  } catch (error) {
    throw new Failure(exitCodes.configuration, `cannot use ${file}: ${(error as Error).message}`);
  }
}

/** A key with what no editor shows would not be what its users have. Of any charset, but not UTF-16. */
const NOT_TEXT = /^\xef\xbb\xbf|[^\P{Cc}\t\r\n\x80-\x9f]/u;
const ALLOW_SENDER = /^#[ \t]*allow-sender(?![^ \t])(.*)$/;
/** Taken for a comment, a slip of the pen would let the key send as anybody. */
const ALMOST_ALLOW_SENDER = /^#[ \t]*allow[-_ ]?(?:ed[-_ ]?)?senders?(?![a-z])/i;
const HASH = 0x23;
