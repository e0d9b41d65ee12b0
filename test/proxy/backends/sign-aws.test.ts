import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import {
  canonicalRequest,
  signAws,
  type AwsKeys,
  type AwsRequest,
} from '../../../src/proxy/backends/ses/sign-aws.ts';

/** A vector of the signing test suite that Amazon publishes (aws-c-auth, tests/aws-signing-test-suite/v4). */
interface Vector {
  name: string;
  keys: AwsKeys;
  normalize: boolean;
  /** The digest of the body is a header field, too. */
  signBody: boolean;
  /** The session token is added after signing. */
  omitSessionToken?: true;
  /** As in HTTP/1.1, with LF for CRLF, and no percent-encoding. */
  request: string;
  canonical: string;
  toSign: string;
  signature: string;
}

const vectors = JSON.parse(
  readFileSync(new URL('sigv4-vectors.json', import.meta.url), 'utf8'),
) as Vector[];

/** The request of a vector, with the header fields that its signer has to add. */
function requestOf({ request, keys, signBody, omitSessionToken }: Vector): AwsRequest {
  const [head = '', body = ''] = request.split('\n\n');
  const [, method = '', path = '', fields = ''] =
    /^(\S+) (.*) HTTP\/1\.1\n?([^]*)$/.exec(head) ?? [];
  const headers = fields
    .replace(/\n\s+/g, ' ')
    .split('\n')
    .filter((line) => line !== '')
    .map((line): [string, string] => [
      line.slice(0, line.indexOf(':')),
      line.slice(line.indexOf(':') + 1),
    ]);
  const bodyDigest = createHash('sha256').update(body).digest('hex');
  headers.push(['X-Amz-Date', '20150830T123600Z']);
  if (keys.sessionToken !== undefined && !omitSessionToken) {
    headers.push(['X-Amz-Security-Token', keys.sessionToken]);
  }
  if (signBody) headers.push(['X-Amz-Content-Sha256', bodyDigest]);
  return { method, path, headers, bodyDigest };
}

test('all 38 vectors that Amazon publishes get their signatures', () => {
  assert.equal(vectors.length, 38);
  for (const vector of vectors) {
    const { name, keys, normalize, canonical, toSign, signature } = vector;
    const request = requestOf(vector);
    assert.equal(canonicalRequest(request, normalize).canonical, canonical, name);
    assert.equal(createHash('sha256').update(canonical).digest('hex'), toSign.split('\n')[3], name);
    const scope = { region: 'us-east-1', service: 'service', normalize };
    const [, signedHeaders] =
      canonical
        .split('\n\n')
        .at(-1)
        ?.match(/^(.*)\n/) ?? [];
    assert.equal(
      signAws(request, keys, scope),
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ' +
        `SignedHeaders=${signedHeaders}, Signature=${signature}`,
      name,
    );
  }
});
