import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { CommandError } from '../../../src/host/command-error.ts';
import { Origins, readOptions, type Given } from '../../../src/host/options.ts';
import { jmapAccount, jmapOptions } from '../../../src/proxy/backends/jmap/jmap-options.ts';
import {
  mailgunAccount,
  mailgunOptions,
} from '../../../src/proxy/backends/mailgun/mailgun-options.ts';
import { sesAccount, sesOptions } from '../../../src/proxy/backends/ses/ses-options.ts';
import { scratch } from '../../support/scratch.ts';

type Environment = NodeJS.ProcessEnv;

const ses = (given: Given, environment: Environment = {}) =>
  sesAccount(readOptions(sesOptions, given, new Origins(), environment), { environment });
const mailgun = (given: Given, environment: Environment = {}) =>
  mailgunAccount(readOptions(mailgunOptions, given, new Origins(), environment), { environment });
const jmap = (given: Given, environment: Environment = {}) =>
  jmapAccount(readOptions(jmapOptions, given, new Origins(), environment), { environment });

function refuses(read: () => unknown, sentence: RegExp): void {
  assert.throws(read, (error: Error) => {
    assert.ok(error instanceof CommandError, String(error));
    assert.equal(error.exitCode, 78);
    assert.match(error.message, sentence);
    assert.doesNotMatch(error.message, /hidden/);
    return true;
  });
}

test('the ses backend has a region, the endpoint of that or its own, and keys or none', () => {
  const region = { 'ses-region': 'eu-west-1' };
  assert.deepEqual(ses(region), {
    region: 'eu-west-1',
    endpoint: new URL('https://email.eu-west-1.amazonaws.com/'),
    keys: undefined,
  });
  const own = ses({ ...region, 'ses-endpoint': 'https://vpce-1.example.org/' });
  assert.equal(own.endpoint.host, 'vpce-1.example.org');
  const keys = { AWS_ACCESS_KEY_ID: 'AKID', AWS_SECRET_ACCESS_KEY: 'hidden' };
  assert.deepEqual(ses(region, keys).keys, {
    keyId: 'AKID',
    secret: 'hidden',
    sessionToken: undefined,
  });
  assert.equal(ses(region, { ...keys, AWS_SESSION_TOKEN: 't' }).keys?.sessionToken, 't');
  refuses(() => ses({}), /needs the AWS region.*--ses-region/);
  refuses(() => ses(region, { AWS_ACCESS_KEY_ID: 'x' }), /without AWS_SECRET_ACCESS_KEY/);
  refuses(() => ses(region, { AWS_SECRET_ACCESS_KEY: 'hidden' }), /without AWS_ACCESS_KEY_ID/);
});

test('the mailgun backend has a domain and a key', () => {
  const domain = { 'mailgun-domain': 'bücher.example' };
  assert.deepEqual(mailgun(domain, { MAILGUN_API_KEY: 'k' }), {
    domain: 'xn--bcher-kva.example',
    url: new URL('https://api.mailgun.net/'),
    apiKey: 'k',
  });
  refuses(() => mailgun({}, { MAILGUN_API_KEY: 'hidden' }), /--mailgun-domain/);
  refuses(() => mailgun(domain), /into MAILGUN_API_KEY/);
});

test('the jmap backend has a session resource, and a token or a user with a password', () => {
  const url = { 'jmap-url': 'https://jmap.example.org/session' };
  assert.equal(jmap(url, { JMAP_TOKEN: 't' }).authorization, 'Bearer t');
  const { authorization } = jmap({ ...url, 'jmap-user': 'jürgen' }, { JMAP_PASSWORD: 'p:w' });
  assert.equal(Buffer.from(authorization.slice(6), 'base64').toString(), 'jürgen:p:w');
  refuses(() => jmap({}, { JMAP_TOKEN: 'hidden' }), /--jmap-url/);
  refuses(() => jmap(url), /JMAP_TOKEN, or --jmap-user/);
  refuses(() => jmap(url, { JMAP_PASSWORD: 'hidden' }), /no --jmap-user/);
  refuses(() => jmap(url, { JMAP_TOKEN: 'hidden', JMAP_PASSWORD: 'hidden' }), /remove one/);
});

test('keys may be credentials of systemd, in files of one line (law 10)', (t) => {
  const folder = scratch(t);
  writeFileSync(join(folder, 'MAILGUN_API_KEY'), 'key-of-a-file\n');
  writeFileSync(join(folder, 'AWS_ACCESS_KEY_ID'), 'AKID\n');
  writeFileSync(join(folder, 'AWS_SECRET_ACCESS_KEY'), ' in/a+file \n');
  writeFileSync(join(folder, 'AWS_SESSION_TOKEN'), '\n');
  writeFileSync(join(folder, 'JMAP_TOKEN'), 'token\n');
  const environment = { CREDENTIALS_DIRECTORY: folder };
  assert.equal(mailgun({ 'mailgun-domain': 'example.org' }, environment).apiKey, 'key-of-a-file');
  assert.deepEqual(ses({ 'ses-region': 'us-east-1' }, environment).keys, {
    keyId: 'AKID',
    secret: 'in/a+file',
    sessionToken: undefined,
  });
  assert.equal(jmap({ 'jmap-url': 'https://x.org/' }, environment).authorization, 'Bearer token');
});

test('an address without TLS is for this machine alone, since a key would be read on the way (law 10)', () => {
  for (const url of ['http://127.0.0.1:8080/', 'http://localhost/', 'http://[::1]:1/']) {
    assert.equal(String(jmap({ 'jmap-url': url }, { JMAP_TOKEN: 't' }).url), url);
  }
  for (const url of ['http://jmap.example.org/', 'ftp://127.0.0.1/', 'https://u:p@x.org/', 'x']) {
    assert.throws(
      () => jmap({ 'jmap-url': url }, { JMAP_TOKEN: 't' }),
      /--jmap-url takes an https:/,
    );
  }
});
