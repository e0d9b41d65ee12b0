import type { IncomingHttpHeaders } from 'node:http';
import { limits } from '../mail/limits.ts';
import { signatureHeaders, Verifier } from '../wire/sign.ts';
import type { Key, Keyring } from './keyring.ts';
import { BodyRefused } from './request-bodies.ts';

/** Checks the signatures of HTTP v2. Strangers may take some of its time, and never so much that nobody else is answered. */
export class SignatureChecks {
  readonly #keys: Keyring;
  /** The request that is large, and has no hint: each key is tried on all of it. */
  #large: SignatureCheck | undefined;

  constructor(keys: Keyring) {
    this.#keys = keys;
  }

  /** Begins to check a request, from its headers; undefined when no body can make its signature right. */
  begin(headers: IncomingHttpHeaders): SignatureCheck | undefined {
    const header = (name: string) => String(headers[name] ?? '');
    const [id, timestamp] = [header(signatureHeaders.id), header(signatureHeaders.timestamp)];
    const hint = headers[signatureHeaders.keyHint];
    const keys = this.#keys.hinted(hint);
    const secrets = TIMESTAMP.test(timestamp) ? keys.map(({ secret }) => secret) : [];
    const signatures = header(signatureHeaders.signature);
    const verifier = new Verifier(secrets, signatures, { id, timestamp });
    if (!verifier.isPossible) return undefined;
    const check: SignatureCheck = {
      id,
      timestamp,
      watch: (piece, size) => {
        if (hint === undefined && size > limits.unhintedBytes) {
          this.#large ??= check;
          if (this.#large !== check) throw new BodyRefused(503, ONE_AT_A_TIME);
        }
        verifier.update(piece);
      },
      find: () => {
        const secret = verifier.find();
        return keys.find((key) => key.secret === secret);
      },
      end: () => {
        if (this.#large === check) this.#large = undefined;
      },
    };
    return check;
  }
}

/** The check of one request. */
export interface SignatureCheck {
  id: string;
  timestamp: string;
  /** Takes a piece of the body, with which so many bytes have arrived. Throws BodyRefused. */
  watch: (piece: Buffer, size: number) => void;
  /** The key that made the signature, once all has arrived; undefined when none did. */
  find: () => Key | undefined;
  /** The request is over. */
  end: () => void;
}

const TIMESTAMP = /^\d{1,15}$/;
const ONE_AT_A_TIME = `another request of more than ${limits.unhintedBytes} bytes without ${signatureHeaders.keyHint} is being read`;
