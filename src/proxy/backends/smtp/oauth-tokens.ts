import { callbackify } from 'node:util';
import XOAuth2, { type XOAuth2TokenCallback } from 'nodemailer/lib/xoauth2';
import type { Machine } from '../../../host/machine.ts';
import { webProxyFor } from '../../../host/net/web-proxy.ts';
import { limits } from '../../../limits.ts';
import type { NoResponse, Response } from '../../../wire/exchange.ts';
import type { OAuthCredentials } from './oauth-credentials.ts';
import { tokenRemedy } from './oauth-remedies.ts';
import { tokenRequest } from './token-request.ts';

/** There is no access token: why, and what to do. Neither text has a secret. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError';
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

/** An access token, and when it is to be renewed and when it ends: monotonic. */
interface Token {
  value: string;
  renewAt: number;
  endsAt: number;
}

/**
 * Gets access tokens for XOAUTH2, and keeps one for all connections until it ends. It is renewed before that, while it is
 * still used; one request is under way at a time. (nodemailer's own class measures the life of a token by the wall clock,
 * and opens connections by itself.)
 */
export class OAuthTokens extends XOAuth2 {
  readonly credentials: OAuthCredentials;
  readonly #user: string;
  readonly #machine: Machine;
  #token: Token | undefined;
  #renewing: Promise<string> | undefined;

  constructor(user: string, credentials: OAuthCredentials, machine: Machine) {
    super({ user });
    this.credentials = credentials;
    this.#user = user;
    this.#machine = machine;
  }

  /** As nodemailer asks for it; `renew` when the relay has refused the last one. */
  override getToken(renew: boolean, done: XOAuth2TokenCallback): void {
    callbackify(async () => this.token(renew))(done);
  }

  /** A token that is valid, as far as is known; with `renew` a new one. Rejects with OAuthError. */
  async token(renew = false): Promise<string> {
    const now = this.#machine.now();
    if (renew || !this.#token || now >= this.#token.endsAt) return this.#renew();
    const { value, renewAt } = this.#token;
    if (now >= renewAt) {
      this.#token.renewAt = now + limits.oauthRetryMs;
      // If it fails until the token has ended, those who need one then are told why.
      this.#renew().catch(() => {});
    }
    return value;
  }

  /** The relay has refused the token: the next is a new one. */
  forget(): void {
    this.#token = undefined;
  }

  async #renew(): Promise<string> {
    this.#renewing ??= this.#fetch().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #fetch(): Promise<string> {
    const { origin } = this.credentials.tokenUrl;
    const answer = await this.#ask();
    if (answer.kind !== 'response') {
      const why = answer.kind === 'aborted' ? 'given up' : answer.text;
      throw new OAuthError(
        `no access token from ${origin}: ${why}`,
        `see whether this machine reaches ${origin}; if only a web proxy does, name it in https_proxy`,
      );
    }
    const { access_token: value, expires_in, error, error_description } = parse(answer.body);
    if (typeof value !== 'string' || value === '') {
      const said = [error, error_description].filter((each) => typeof each === 'string').join(': ');
      const text = said.replace(/\s+/g, ' ').slice(0, limits.reasonChars);
      throw new OAuthError(
        `no access token from ${origin}: ${text || `status ${answer.status}`}`,
        tokenRemedy(this.credentials, this.#user, text),
      );
    }
    // Without an end it is used until it is refused (RFC 6749 5.1).
    const lifeMs = Number(expires_in) > 0 ? Number(expires_in) * 1000 : Infinity;
    const endsAt = this.#machine.now() + lifeMs;
    this.#token = { value, endsAt, renewAt: endsAt - Math.min(limits.oauthRenewMs, lifeMs / 2) };
    return value;
  }

  /** Asks once more, at the server's time, if it refuses and its clock differs from that of this machine. */
  async #ask(): Promise<Response | NoResponse> {
    const answer = await this.#post(0);
    if (answer.kind !== 'response' || answer.status < 400) return answer;
    const aheadMs = Date.parse(String(answer.headers['date'])) - this.#machine.wallNow();
    return Math.abs(aheadMs) > limits.oauthClockMs ? this.#post(aheadMs) : answer;
  }

  async #post(aheadMs: number): Promise<Response | NoResponse> {
    // The HTTP client is loaded when it is used, as elsewhere.
    const { HttpPool } = await import('../../../host/net/http-pool.ts');
    const { exchange } = await import('../../../wire/exchange.ts');
    const machine = this.#machine;
    const form = tokenRequest(this.credentials, this.#user, {
      wallNow: () => machine.wallNow() + aheadMs,
      randomBytes: (size) => machine.randomBytes(size),
    });
    const body = Buffer.from(form.toString());
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(body.length),
      accept: 'application/json',
    };
    const url = this.credentials.tokenUrl;
    const pool = new HttpPool({ url, webProxy: webProxyFor(url) }, machine);
    const never = new AbortController().signal;
    const request = { method: 'POST' as const, headers, body: [body], length: body.length };
    const answer = await exchange({ pool }, request, never);
    await pool.close();
    return answer;
  }
}

function parse(body: Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(body.toString())) as Record<string, unknown>;
  } catch {
    return {};
  }
}
