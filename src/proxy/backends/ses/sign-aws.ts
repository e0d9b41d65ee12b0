import { createHash, createHmac } from 'node:crypto';

/** Keys of AWS, with which requests are signed. */
export interface AwsKeys {
  keyId: string;
  secret: string;
  /** Temporary keys have one. */
  sessionToken?: string | undefined;
}

/** A request to be signed. */
export interface AwsRequest {
  method: string;
  /** Path and query as they are sent. */
  path: string;
  /** All header fields that are signed, Host and X-Amz-Date (`20150830T123600Z`) among them. */
  headers: readonly (readonly [name: string, value: string])[];
  /** SHA-256 of the body, in hexadecimal. */
  bodyDigest: string;
}

/** What a signature holds for, besides the day. */
export interface AwsScope {
  region: string;
  service: string;
  /** Whether `.`, `..` and empty segments are taken out of the path before it is signed; all services but S3 do so. */
  normalize?: boolean;
}

/**
 * The value of the header field Authorization, by Signature Version 4 (AWS IAM User Guide, "Create a signed AWS API
 * request"). A session token has to be among the header fields (X-Amz-Security-Token).
 */
export function signAws(request: AwsRequest, keys: AwsKeys, scope: AwsScope): string {
  const { canonical, signedHeaders, time } = canonicalRequest(request, scope.normalize ?? true);
  const day = time.slice(0, 8);
  const credential = [day, scope.region, scope.service, 'aws4_request'];
  const toSign = ['AWS4-HMAC-SHA256', time, credential.join('/'), sha256(canonical)].join('\n');
  const key = credential.reduce<string | Buffer>(hmac, `AWS4${keys.secret}`);
  const signature = hmac(key, toSign).toString('hex');
  return (
    `AWS4-HMAC-SHA256 Credential=${keys.keyId}/${credential.join('/')}, ` +
    `SignedHeaders=${signedHeaders}, Signature=${signature}`
  );
}

/** The form of a request that is hashed, and what the signature takes from it. */
export function canonicalRequest(
  { method, path, headers, bodyDigest }: AwsRequest,
  normalize: boolean,
): { canonical: string; signedHeaders: string; time: string } {
  const question = path.indexOf('?');
  const [pathname, query] =
    question < 0 ? [path, ''] : [path.slice(0, question), path.slice(question + 1)];
  const fields = canonicalHeaders(headers);
  const signedHeaders = [...fields.keys()].join(';');
  const canonical = [
    method,
    encode(normalize ? withoutDots(pathname) : pathname, /%2F/g, '/'),
    canonicalQuery(query),
    ...Array.from(fields, ([name, value]) => `${name}:${value}`),
    '',
    signedHeaders,
    bodyDigest,
  ].join('\n');
  return { canonical, signedHeaders, time: fields.get('x-amz-date') ?? '' };
}

/** Names in small letters and sorted; the values of one name in their order, with single spaces. */
function canonicalHeaders(headers: AwsRequest['headers']): Map<string, string> {
  const fields = new Map<string, string>();
  for (const [name, value] of headers) {
    const [key, text] = [name.toLowerCase(), value.trim().replace(/\s+/g, ' ')];
    const before = fields.get(key);
    fields.set(key, before === undefined ? text : `${before},${text}`);
  }
  return new Map([...fields].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Each parameter with its value, encoded anew and sorted by name, then by value. */
function canonicalQuery(query: string): string {
  if (query === '') return '';
  const parameters = query.split('&').map((parameter) => {
    const [name = '', ...value] = parameter.split('=');
    return [name, value.join('=')].map((part) => encode(decodeURIComponent(part)));
  });
  // No encoded text has a character that comes before the NUL between them.
  const sorted = parameters.toSorted((a, b) => (a.join('\0') < b.join('\0') ? -1 : 1));
  return sorted.map((pair) => pair.join('=')).join('&');
}

/** A path without `.`, `..` and empty segments (RFC 3986 5.2.4). */
function withoutDots(pathname: string): string {
  const kept: string[] = [];
  for (const segment of pathname.split('/')) {
    if (segment === '..') kept.pop();
    else if (segment !== '.' && segment !== '') kept.push(segment);
  }
  const end = kept.length > 0 && /\/\.{0,2}$/.test(pathname) ? '/' : '';
  return `/${kept.join('/')}${end}`;
}

/** Percent-encodes all but the unreserved characters of RFC 3986. */
function encode(text: string, but = /(?!)/g, by = ''): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return encoded.replace(but, by);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
