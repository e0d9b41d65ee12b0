import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { thisMachine } from '../../../src/host/machine.ts';
import { limits } from '../../../src/limits.ts';
import { BackendUnavailableError } from '../../../src/proxy/backends/backend.ts';
import { AwsCredentials } from '../../../src/proxy/backends/ses/aws-credentials.ts';
import { sesBackend } from '../../../src/proxy/backends/ses/ses-backend.ts';
import { closedPort } from '../../support/closed-port.ts';
import { deliverBy } from '../../support/deliver-by.ts';
import { scratch } from '../../support/scratch.ts';
import { ScriptedSes } from '../../support/scripted-ses.ts';

const MINUTE = 60_000;

/** A machine of Amazon on loopback: its instance metadata service and the agent of its containers. */
class ScriptedMetadata {
  /** Request lines, with the token that came. */
  readonly requests: string[] = [];
  role = 'mail-role';
  /** For how long keys are valid that are given now. */
  lifeMs = 6 * 60 * MINUTE;
  given = 0;
  isDown = false;
  /** Requests get no answer. */
  isSilent = false;
  readonly url: string;

  private constructor(url: string) {
    this.url = url;
  }

  static async start(t: TestContext): Promise<ScriptedMetadata> {
    const server = createServer((request, response) => {
      if (scripted.isSilent) return;
      const { status, body } = scripted.#answer(request);
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const scripted = new ScriptedMetadata(`http://127.0.0.1:${port}`);
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return scripted;
  }

  get keys() {
    return { keyId: `ASIA${this.given}`, secret: 'secret', sessionToken: `token ${this.given}` };
  }

  #answer({ method, url = '', headers }: IncomingMessage): { status: number; body: string } {
    const token = String(headers['x-aws-ec2-metadata-token'] ?? headers.authorization ?? '');
    this.requests.push(`${method} ${url} ${token}`.trim());
    if (this.isDown) return { status: 503, body: '' };
    if (method === 'PUT') return { status: 200, body: 'imds-token' };
    const path = '/latest/meta-data/iam/security-credentials/';
    if (url.startsWith('/latest/') && token !== 'imds-token') return { status: 401, body: '' };
    if (url === path) return { status: this.role === '' ? 404 : 200, body: this.role };
    this.given += 1;
    const { keyId, secret, sessionToken } = this.keys;
    return {
      status: 200,
      body: JSON.stringify({
        Code: 'Success',
        AccessKeyId: keyId,
        SecretAccessKey: secret,
        Token: sessionToken,
        Expiration: new Date(Date.now() + this.lifeMs).toISOString(),
      }),
    };
  }
}

/** A machine whose monotonic time is moved by the test. */
function movable() {
  const machine = { ...thisMachine, now: () => thisMachine.now() + machine.later, later: 0 };
  return machine;
}

test('keys of a role come from the instance metadata service, version 2, and are kept', async (t) => {
  const metadata = await ScriptedMetadata.start(t);
  const environment = { AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  const credentials = new AwsCredentials(undefined, thisMachine, environment);
  assert.deepEqual(await credentials.keys(), metadata.keys);
  assert.deepEqual(metadata.requests, [
    'PUT /latest/api/token',
    'GET /latest/meta-data/iam/security-credentials/ imds-token',
    'GET /latest/meta-data/iam/security-credentials/mail-role imds-token',
  ]);
  await credentials.keys();
  assert.equal(metadata.requests.length, 3);
});

test('in a container they come from its agent, with the token of a file that may change', async (t) => {
  const metadata = await ScriptedMetadata.start(t);
  const file = join(scratch(t), 'token');
  writeFileSync(file, 'first\n');
  const environment = {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${metadata.url}/v1/credentials?x=1`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: 'not this one',
  };
  const machine = movable();
  const credentials = new AwsCredentials(undefined, machine, environment);
  await credentials.keys();
  writeFileSync(file, 'second\n');
  machine.later += 7 * 60 * MINUTE;
  await credentials.keys();
  assert.deepEqual(metadata.requests, [
    'GET /v1/credentials?x=1 first',
    'GET /v1/credentials?x=1 second',
  ]);
});

test('no request is made to an agent that is neither this machine nor one of Amazon (law 10)', async () => {
  for (const uri of [
    'http://metadata.example.org/',
    'http://169.254.169.254/',
    'file:///etc/passwd',
  ]) {
    const environment = { AWS_CONTAINER_CREDENTIALS_FULL_URI: uri };
    const credentials = new AwsCredentials(undefined, thisMachine, environment);
    await assert.rejects(
      credentials.keys(),
      /AWS_CONTAINER_CREDENTIALS_FULL_URI is not https:/,
      uri,
    );
  }
});

test('keys are renewed before they end, one renewal at a time, and used to their end when that fails', async (t) => {
  const metadata = await ScriptedMetadata.start(t);
  metadata.lifeMs = 60 * MINUTE;
  const environment = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${metadata.url}/keys` };
  const machine = movable();
  const credentials = new AwsCredentials(undefined, machine, environment);
  const first = await Promise.all([credentials.keys(), credentials.keys(), credentials.keys()]);
  assert.deepEqual(new Set(first.map(({ keyId }) => keyId)), new Set(['ASIA1']));
  machine.later += 55 * MINUTE;
  assert.equal((await credentials.keys()).keyId, 'ASIA1');
  metadata.isDown = true;
  machine.later += 2 * MINUTE;
  assert.equal((await credentials.keys()).keyId, 'ASIA1', 'three minutes are left');
  const asked = metadata.requests.length;
  assert.equal(asked, 2, 'new ones were asked for');
  await credentials.keys();
  assert.equal(metadata.requests.length, asked, 'it is not asked at each message');
  machine.later += 4 * MINUTE;
  await assert.rejects(credentials.keys(), BackendUnavailableError);
  metadata.isDown = false;
  assert.equal((await credentials.keys()).keyId, 'ASIA2');
});

async function roleKeys(environment: NodeJS.ProcessEnv) {
  return new AwsCredentials(undefined, thisMachine, environment).keys();
}

test('a machine without a role, or one where that is forbidden: the mail waits, and the reason is told', async (t) => {
  const metadata = await ScriptedMetadata.start(t);
  metadata.role = '';
  const endpoint = { AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  await assert.rejects(
    roleKeys(endpoint),
    /no keys for Amazon SES: .* answered 404: this machine has no role; set AWS_ACCESS_KEY_ID/,
  );
  const nowhere = { AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${await closedPort()}` };
  await assert.rejects(roleKeys(nowhere), /no keys for Amazon SES: .*ECONNREFUSED.*hop limit of 2/);
  const unreadable = {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${metadata.url}/keys`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/nonexistent/token',
  };
  await assert.rejects(roleKeys(unreadable), /no keys for Amazon SES: .*\/nonexistent\/token/);
  await assert.rejects(
    roleKeys({ ...endpoint, AWS_EC2_METADATA_DISABLED: 'true' }),
    /no keys are set, and AWS_EC2_METADATA_DISABLED forbids/,
  );
});

test('a metadata service that does not answer, as beyond the hop limit: the mail waits, and the reason says so (law 5)', async (t) => {
  const metadata = await ScriptedMetadata.start(t);
  metadata.isSilent = true;
  const ses = await ScriptedSes.start(t);
  const machine = {
    ...thisMachine,
    timer: (ms: number, ...rest: [() => void, { idle?: boolean }?]) =>
      thisMachine.timer(ms === limits.awsKeysMs ? 50 : ms, ...rest),
  };
  const environment = { AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  const account = { ...ses.account, keys: undefined };
  const backend = sesBackend(account, { ca: ses.server.ca, environment, machine });
  await assert.rejects(deliverBy(backend, { recipients: ['a@example.org'] }), (error: Error) => {
    assert.ok(error instanceof BackendUnavailableError);
    assert.match(error.message, /no keys for Amazon SES: .*\(a container on EC2 .* hop limit of 2/);
    return true;
  });
  assert.equal(ses.server.requests.length, 0);
});

test('keys of a role that Amazon refuses are renewed at once, and the message goes out', async (t) => {
  const metadata = await ScriptedMetadata.start(t);
  const ses = await ScriptedSes.start(t);
  const environment = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${metadata.url}/keys` };
  const account = { ...ses.account, keys: undefined };
  const backend = sesBackend(account, { ca: ses.server.ca, environment });
  ses.keys = { keyId: 'ASIA2', secret: 'secret', sessionToken: 'token 2' };
  const [result] = await deliverBy(backend, { recipients: ['a@example.org'] });
  assert.ok(result && 'status' in result);
  assert.equal(result.status, '2.0.0');
  assert.deepEqual([metadata.given, ses.server.requests.length], [2, 2]);
});
