import { createHmac, timingSafeEqual, type Hmac } from 'node:crypto';
import { limits } from '../limits.ts';

/** The headers of Standard Webhooks, on requests and answers alike, and one of ours, on requests. */
export const signatureHeaders = {
  id: 'webhook-id',
  timestamp: 'webhook-timestamp',
  signature: 'webhook-signature',
  keyHint: 'appengine-mailer-key-hint',
} as const;

/** What a signature covers: the message's id, Unix seconds, and the body as it is sent. */
export interface Signed {
  id: string;
  timestamp: string;
  /** The body in pieces, so that a large message need not be copied to be signed. */
  body: Iterable<Uint8Array>;
}

/** Signs as Standard Webhooks does, over bytes: `v1,` and base64 of HMAC-SHA256. */
export function sign(key: Buffer, { id, timestamp, body }: Signed): string {
  const hmac = begin(key, id, timestamp);
  for (const piece of body) hmac.update(piece);
  return end(hmac);
}

/**
 * Finds the key that made one of the signatures in a webhook-signature header (several are separated
 * by spaces); undefined when none did. Compares in constant time.
 */
export function verify(
  keys: readonly Buffer[],
  signatures: string,
  { id, timestamp, body }: Signed,
): Buffer | undefined {
  const verifier = new Verifier(keys, signatures, { id, timestamp });
  for (const piece of body) verifier.update(piece);
  return verifier.find();
}

/** Verifies a body while it arrives, so that other work does not wait until all of a large one is hashed. */
export class Verifier {
  readonly #given: Buffer[];
  readonly #hashes: { key: Buffer; hmac: Hmac }[];

  constructor(
    keys: readonly Buffer[],
    signatures: string,
    { id, timestamp }: Pick<Signed, 'id' | 'timestamp'>,
  ) {
    this.#given = signatures
      .split(' ', limits.signatures)
      .filter((text) => SIGNATURE.test(text))
      .map((text) => Buffer.from(text));
    const tried = this.#given.length > 0 ? keys : [];
    this.#hashes = tried.map((key) => ({ key, hmac: begin(key, id, timestamp) }));
  }

  /** Whether any key can be the right one. */
  get isPossible(): boolean {
    return this.#hashes.length > 0;
  }

  update(piece: Uint8Array): void {
    for (const { hmac } of this.#hashes) hmac.update(piece);
  }

  /** The key that made a signature, after the whole body; undefined when none did. Call it once only. */
  find(): Buffer | undefined {
    return this.#hashes.find(({ hmac }) => {
      const expected = Buffer.from(end(hmac));
      return this.#given.some((each) => timingSafeEqual(each, expected));
    })?.key;
  }
}

/** Says which key the proxy has to try, which otherwise tries all. It tells others no more than a signature does. */
export function keyHint(key: Buffer): string {
  return createHmac('sha256', key).update(HINTED).digest('hex').slice(0, HINT_DIGITS);
}

function begin(key: Buffer, id: string, timestamp: string): Hmac {
  return createHmac('sha256', key).update(`${id}.${timestamp}.`);
}

function end(hmac: Hmac): string {
  return `v1,${hmac.digest('base64')}`;
}

const SIGNATURE = /^v1,[0-9A-Za-z+/]{43}=$/;
const HINTED = 'appengine-mailer-key-hint';
const HINT_DIGITS = 16;
