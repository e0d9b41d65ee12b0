import { thisMachine } from '../../../host/machine.ts';
import { callbackify } from 'node:util';
import XOAuth2, { type XOAuth2TokenCallback } from 'nodemailer/lib/xoauth2';
import { webProxyFor } from '../../../host/net/web-proxy.ts';
import { limits } from '../../../limits.ts';

/**
 * Gets access tokens for XOAUTH2 with a refresh token (RFC 6749 6). nodemailer keeps them, and asks for one at a time;
 * the connection is opened here.
 */
export class OAuthTokens extends XOAuth2 {
  override generateToken(done: XOAuth2TokenCallback): void {
    callbackify(async () => this.#fetch())(done);
  }

  /** Rejects with an Error that contains no secret. */
  async #fetch(): Promise<string> {
    // The HTTP client is loaded when it is used, as elsewhere.
    const { HttpPool } = await import('../../../host/net/http-pool.ts');
    const { exchange } = await import('../../../wire/exchange.ts');
    const { accessUrl = '', clientId = '', clientSecret = '', refreshToken = '' } = this.options;
    const url = new URL(accessUrl);
    const form = new URLSearchParams({
      client_id: clientId,
      client_secret: clientSecret,
      refresh_token: refreshToken,
      grant_type: 'refresh_token',
    });
    const body = Buffer.from(form.toString());
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(body.length),
    };
    const pool = new HttpPool({ url, webProxy: webProxyFor(url) }, thisMachine);
    const never = new AbortController().signal;
    const answer = await exchange(
      { pool },
      { method: 'POST', headers, body: [body], length: body.length },
      never,
    );
    await pool.close();
    const from = `no access token from ${url.origin}`;
    if (answer.kind !== 'response') {
      throw new Error(`${from}: ${answer.kind === 'aborted' ? 'given up' : answer.text}`);
    }
    const { access_token: token, expires_in, error, error_description } = parse(answer.body);
    if (typeof token === 'string') {
      this.updateToken(token, Number(expires_in ?? 0));
      return token;
    }
    const said = [error, error_description].filter((each) => typeof each === 'string').join(': ');
    throw new Error(`${from}: ${said.slice(0, limits.reasonChars) || `status ${answer.status}`}`);
  }
}

function parse(body: Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(body.toString())) as Record<string, unknown>;
  } catch {
    return {};
  }
}
