import { createHash, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { isLoopback } from '../../../host/net/is-loopback.ts';

/** What APPENGINE_SMTP_OAUTH says: where access tokens are had (RFC 6749 3.2), and by which grant. */
export type OAuthCredentials = { tokenUrl: URL } & (
  RefreshToken | GoogleServiceAccount | MicrosoftApplication
);

/** A refresh token, which a person has allowed once (RFC 6749 6). */
export interface RefreshToken {
  kind: 'refresh token';
  clientId: string;
  clientSecret: string;
  refreshToken: string;
}

/** A service account of Google, which may act for the users of a domain (RFC 7523 2.1). */
export interface GoogleServiceAccount {
  kind: 'google';
  email: string;
  /** Its number, by which Google's admin console knows it; undefined where the file does not have it. */
  clientId: string | undefined;
  privateKey: KeyObject;
  keyId: string | undefined;
}

/** An application that is registered at Microsoft, with its own credentials (RFC 6749 4.4). */
export interface MicrosoftApplication {
  kind: 'microsoft';
  clientId: string;
  scope: string;
  /** A client secret, or a certificate whose key signs (RFC 7523 2.2). */
  proof: { secret: string } | { privateKey: KeyObject; thumbprint: string };
}

/**
 * Reads JSON: the file of a Google service account; tenant_id and client_id with client_secret or certificate for
 * Microsoft, also by the names that its own tool prints (tenant, appId, password); or client_id, client_secret and
 * refresh_token. Throws CommandError 78, without a secret in its text.
 */
export function parseOAuthCredentials(setting: Buffer): OAuthCredentials {
  const json = parseObject(setting.toString());
  const field: Field = (...names) => {
    const values = names.map((name) => json[name]);
    return values.find((value): value is string => typeof value === 'string' && value !== '');
  };
  if (json['type'] === 'service_account') return serviceAccount(field);
  const tenant = field('tenant_id', 'tenant');
  if (tenant !== undefined) return application(tenant, field);
  const [clientId, clientSecret] = [field('client_id'), field('client_secret')];
  const refreshToken = field('refresh_token');
  if (!clientId || !clientSecret || !refreshToken) {
    throw wrong(
      'is not JSON that contains type "service_account" (Google), or tenant_id (Microsoft), or client_id, ' +
        'client_secret and refresh_token; see appengine-mailer-oauth(7)',
    );
  }
  const tokenUrl = tokenUrlOf(field, 'https://accounts.google.com/o/oauth2/token');
  return { kind: 'refresh token', tokenUrl, clientId, clientSecret, refreshToken };
}

/** The value of the first of these fields that is a string and not empty. */
type Field = (...names: string[]) => string | undefined;

function serviceAccount(field: Field): OAuthCredentials {
  const [email, pem] = [field('client_email'), field('private_key')];
  if (!email || !pem) {
    throw wrong(
      'is of a service account and has no client_email or no private_key: use the JSON file that Google makes with a key',
    );
  }
  return {
    kind: 'google',
    tokenUrl: tokenUrlOf(field, 'https://oauth2.googleapis.com/token'),
    email,
    clientId: field('client_id'),
    privateKey: rsaKey('private_key', pem),
    keyId: field('private_key_id'),
  };
}

function application(tenant: string, field: Field): OAuthCredentials {
  const clientId = field('client_id', 'appId');
  const secret = field('client_secret', 'password');
  const pem = field('certificate');
  if (!clientId) throw wrong('has a tenant and no client_id');
  if ((secret === undefined) === (pem === undefined)) {
    throw wrong('has to contain either client_secret or certificate beside tenant_id');
  }
  return {
    kind: 'microsoft',
    tokenUrl: tokenUrlOf(
      field,
      `https://login.microsoftonline.com/${encodeURIComponent(tenant)}/oauth2/v2.0/token`,
    ),
    clientId,
    scope: field('scope') ?? 'https://outlook.office365.com/.default',
    proof: secret === undefined ? certificate(pem ?? '') : { secret },
  };
}

/** PEM of a certificate and its private key, in any order. */
function certificate(pem: string): { privateKey: KeyObject; thumbprint: string } {
  const privateKey = rsaKey('certificate', pem);
  const found = x509(pem);
  if (!found?.checkPrivateKey(privateKey)) {
    throw wrong('has a certificate that is not the PEM of a certificate and of its private key');
  }
  return { privateKey, thumbprint: createHash('sha256').update(found.raw).digest('base64url') };
}

function x509(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function rsaKey(name: string, pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'rsa') return key;
  } catch {
    // The parser says nothing that a person could use.
  }
  throw wrong(`has a ${name} without the private key of an RSA pair (PEM, no passphrase)`);
}

/** It gets secrets: without TLS it may only be on this machine. */
function tokenUrlOf(field: Field, usual: string): URL {
  const text = field('token_uri') ?? usual;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:') return url;
  if (url?.protocol === 'http:' && isLoopback(url.hostname)) return url;
  throw wrong('has a token_uri that does not begin with https://');
}

/** An object without fields where it is none: the message of the parser would quote the secret. */
function parseObject(json: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(json)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function wrong(what: string): CommandError {
  return new CommandError(exitCodes.configuration, `APPENGINE_SMTP_OAUTH ${what}`);
}
