import type { IncomingHttpHeaders } from 'node:http';
import { signatureHeaders, Verifier } from '../../wire/sign.ts';
import { Turns } from '../../wire/turns.ts';
import type { Key, Keyring } from '../policy/keyring.ts';

/** Checks the signature of one request of HTTP v2. */
export interface SignatureCheck {
  id: string;
  timestamp: string;
  /** Takes a piece of the body. */
  watch: (piece: Buffer) => void;
  /** The key that made the signature of the whole body; undefined when none did. */
  find: (body: Buffer) => Promise<Key | undefined>;
}

/**
 * Begins to check a request, from its headers; undefined when its signature is wrong whatever the body is. With a hint at
 * its key, the body is hashed while it arrives; without one, every key is tried afterwards, a slice of the body at a time,
 * so that other requests are not held up.
 */
export function checkSignature(
  headers: IncomingHttpHeaders,
  keyring: Keyring,
): SignatureCheck | undefined {
  const header = (name: string) => String(headers[name] ?? '');
  const [id, timestamp] = [header(signatureHeaders.id), header(signatureHeaders.timestamp)];
  const hint = headers[signatureHeaders.keyHint];
  const keys = keyring.hinted(hint);
  const signatures = header(signatureHeaders.signature);
  const verifierOf = (some: readonly Key[]) => {
    const secrets = some.map(({ secret }) => secret);
    return new Verifier(secrets, signatures, { id, timestamp });
  };
  const hinted = verifierOf(hint === undefined ? [] : keys);
  const isPossible =
    hint === undefined ? verifierOf(keys.slice(0, 1)).isPossible : hinted.isPossible;
  if (!TIMESTAMP.test(timestamp) || !isPossible) return undefined;
  return {
    id,
    timestamp,
    watch: (piece) => hinted.update(piece),
    find: async (body) => {
      const secret = hint === undefined ? await tryEach(body) : hinted.find();
      return keys.find((key) => key.secret === secret);
    },
  };

  async function tryEach(body: Buffer): Promise<Buffer | undefined> {
    const turns = new Turns();
    for (const key of keys) {
      const verifier = verifierOf([key]);
      for await (const slice of turns.slices(body)) verifier.update(slice);
      const found = verifier.find();
      if (found) return found;
    }
    return undefined;
  }
}

const TIMESTAMP = /^\d{1,15}$/;
