import { constants, sign, type KeyObject } from 'node:crypto';
import type { Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import type { MicrosoftApplication, OAuthCredentials } from './oauth-credentials.ts';

/** What a request for an access token takes from its machine: the wall clock, and chance for an id. */
export type Moment = Pick<Clock, 'wallNow' | 'randomBytes'>;

/** The form that asks for an access token, with which `user` can log in (RFC 6749 4.4, 6; RFC 7523). */
export function tokenRequest(
  credentials: OAuthCredentials,
  user: string,
  moment: Moment,
): URLSearchParams {
  const { kind } = credentials;
  if (kind === 'refresh token') {
    return new URLSearchParams({
      client_id: credentials.clientId,
      client_secret: credentials.clientSecret,
      refresh_token: credentials.refreshToken,
      grant_type: 'refresh_token',
    });
  }
  if (kind === 'google') {
    const { email, keyId, privateKey, tokenUrl } = credentials;
    const claims = { iss: email, sub: user, scope: 'https://mail.google.com/', aud: tokenUrl.href };
    return new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: webToken('RS256', { kid: keyId }, { ...claims, ...validity(moment) }, privateKey),
    });
  }
  const { clientId, scope } = credentials;
  return new URLSearchParams({
    client_id: clientId,
    scope,
    grant_type: 'client_credentials',
    ...clientProof(credentials, moment),
  });
}

/** The client secret, or what Microsoft calls certificate credentials: a JWT that is signed with PS256. */
function clientProof(
  { clientId, proof, tokenUrl }: MicrosoftApplication & { tokenUrl: URL },
  moment: Moment,
): Record<string, string> {
  if ('secret' in proof) return { client_secret: proof.secret };
  const header = { 'x5t#S256': proof.thumbprint };
  const jti = moment.randomBytes(16).toString('hex');
  const claims = { iss: clientId, sub: clientId, aud: tokenUrl.href, jti };
  return {
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: webToken(
      'PS256',
      header,
      { ...claims, ...validity(moment) },
      proof.privateKey,
    ),
  };
}

/** From when to when an assertion is valid, in seconds since 1970 UTC (RFC 7519 4.1). */
function validity({ wallNow }: Moment): { iat: number; nbf: number; exp: number } {
  const now = Math.floor(wallNow() / 1000);
  return { iat: now, nbf: now, exp: now + limits.oauthAssertionMs / 1000 };
}

/** A JSON Web Token in its compact form (RFC 7515 7.1). */
function webToken(
  alg: 'RS256' | 'PS256',
  header: Record<string, unknown>,
  claims: Record<string, unknown>,
  key: KeyObject,
): string {
  const signed = `${encoded({ alg, typ: 'JWT', ...header })}.${encoded(claims)}`;
  const { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST } = constants;
  const padding = alg === 'PS256' ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
  const options = { key, padding, saltLength: RSA_PSS_SALTLEN_DIGEST };
  return `${signed}.${sign('sha256', Buffer.from(signed), options).toString('base64url')}`;
}

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
