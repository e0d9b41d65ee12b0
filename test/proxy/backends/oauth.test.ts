import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  generateKeyPairSync,
  verify,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { CommandError } from '../../../src/host/command-error.ts';
import { sleep } from '../../../src/host/clock.ts';
import { thisMachine, type Machine } from '../../../src/host/machine.ts';
import { limits } from '../../../src/limits.ts';
import {
  parseOAuthCredentials,
  type OAuthCredentials,
} from '../../../src/proxy/backends/smtp/oauth-credentials.ts';
import { OAuthError, OAuthTokens } from '../../../src/proxy/backends/smtp/oauth-tokens.ts';
import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { handIn } from '../../support/hand-in.ts';
import { lookInto } from '../../support/look-into.ts';
import { needs } from '../../support/needs.ts';
import { npmSmtp } from '../../support/npm-smtp.ts';
import { appengineMailer, run } from '../../support/program.ts';
import { Road } from '../../support/road.ts';
import { scratch } from '../../support/scratch.ts';
import { ScriptedSmtp } from '../../support/scripted-smtp.ts';
import { sendWith } from '../../support/send-with.ts';
import { tokenServer, type TokenAnswer } from '../../support/token-server.ts';
import { until } from '../../support/until.ts';

const USER = 'sender@example.org';
const SENT = /^r@example\.org 2\.0\.0 /;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** The file that Google makes with a key of a service account. */
const serviceAccount = {
  type: 'service_account',
  project_id: 'p',
  private_key_id: 'key-1',
  private_key: pem(rsa.privateKey),
  client_email: 'mailer@p.iam.gserviceaccount.com',
  client_id: '1234567890',
  auth_uri: 'https://accounts.google.com/o/oauth2/auth',
};
const microsoft = { tenant_id: 'contoso', client_id: 'app-1', client_secret: 's3cret' };
const refresh = { client_id: 'i', client_secret: 's3cret', refresh_token: 's3cret' };

const credentials = (json: object, token_uri?: URL): OAuthCredentials =>
  parseOAuthCredentials(Buffer.from(JSON.stringify({ ...json, token_uri: token_uri?.href })));

const decoded = (part: string) =>
  JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;

/** The parts of a JSON Web Token, decoded. */
function parts(jwt: string | null) {
  const [header = '', claims = '', signature = ''] = (jwt ?? '').split('.');
  return {
    header: decoded(header),
    claims: decoded(claims),
    signed: Buffer.from(`${header}.${claims}`),
    signature: Buffer.from(signature, 'base64url'),
  };
}

/** A relay that takes one access token, and refuses others as it is told to. */
async function xoauth2Relay(t: TestContext, valid: () => string) {
  return npmSmtp(t, {
    authOptional: false,
    authMethods: ['XOAUTH2'],
    hideSTARTTLS: true,
    allowInsecureAuth: true,
    onAuth({ username, accessToken }, _, done) {
      if (username === USER && accessToken === valid()) done(null, { user: username });
      else done(null, { data: { status: '401', schemes: 'bearer' } });
    },
  });
}

test('XOAUTH2 by refresh token: one for all connections, a new one when it is refused', async (t) => {
  let valid = '';
  const { url, forms } = await tokenServer(t, () => {
    valid = `token-${forms.length}`;
    return { access_token: valid, expires_in: 3600 };
  });
  const { relay } = await xoauth2Relay(t, () => valid);
  const auth = { user: USER, oauth: credentials(refresh, url) };
  const backend = smtpBackend(relay({ security: 'none', auth, connectionsMax: 5 }));
  const several = Array.from({ length: 5 }, async () => sendWith(backend));
  for (const told of (await Promise.all(several)).flat()) assert.match(told, SENT);
  assert.deepEqual(
    forms.map((form) => Object.fromEntries(form)),
    [{ ...refresh, grant_type: 'refresh_token' }],
  );
  valid = 'revoked';
  const other = smtpBackend(relay({ security: 'none', auth }));
  assert.match((await sendWith(other)).join(), SENT);
  assert.equal(forms.length, 2);
});

test('XOAUTH2 by a service account of Google: a signed assertion for the user', async (t) => {
  const { url, forms } = await tokenServer(t, () => ({ access_token: 'of-google', expires_in: 1 }));
  const { relay } = await xoauth2Relay(t, () => 'of-google');
  const auth = { user: USER, oauth: credentials(serviceAccount, url) };
  assert.match((await sendWith(smtpBackend(relay({ security: 'none', auth })))).join(), SENT);
  const [form = new URLSearchParams()] = forms;
  assert.deepEqual([...form.keys()], ['grant_type', 'assertion']);
  assert.equal(form.get('grant_type'), 'urn:ietf:params:oauth:grant-type:jwt-bearer');
  const { header, claims, signed, signature } = parts(form.get('assertion'));
  assert.deepEqual(header, { alg: 'RS256', typ: 'JWT', kid: 'key-1' });
  assert.ok(verify('sha256', signed, rsa.publicKey, signature));
  const { iat, exp, nbf, ...others } = claims;
  assert.deepEqual(others, {
    iss: 'mailer@p.iam.gserviceaccount.com',
    sub: USER,
    scope: 'https://mail.google.com/',
    aud: url.href,
  });
  assert.ok(Math.abs(Number(iat) - Date.now() / 1000) < 60);
  assert.equal(Number(exp) - Number(iat), limits.oauthAssertionMs / 1000);
  assert.equal(nbf, iat);
});

test('XOAUTH2 by an application of Microsoft, with a secret', async (t) => {
  const { url, forms } = await tokenServer(t, () => ({ access_token: 'of-ms', expires_in: 3599 }));
  const { relay } = await xoauth2Relay(t, () => 'of-ms');
  const auth = { user: USER, oauth: credentials(microsoft, url) };
  assert.match((await sendWith(smtpBackend(relay({ security: 'none', auth })))).join(), SENT);
  assert.deepEqual(Object.fromEntries(forms[0] ?? []), {
    client_id: 'app-1',
    client_secret: 's3cret',
    scope: 'https://outlook.office365.com/.default',
    grant_type: 'client_credentials',
  });
  const usual = 'https://login.microsoftonline.com/contoso/oauth2/v2.0/token';
  assert.equal(credentials(microsoft).tokenUrl.href, usual);
  // What `az ad app credential reset` prints.
  const printed = { appId: 'app-1', password: 's3cret', tenant: 'contoso' };
  assert.deepEqual(credentials(printed), credentials(microsoft));
});

test(
  'XOAUTH2 by an application of Microsoft, with a certificate: PS256, and its SHA-256 in x5t#S256',
  needs('openssl'),
  async (t) => {
    const { url, forms } = await tokenServer(t, () => ({ access_token: 'of-ms' }));
    const { relay } = await xoauth2Relay(t, () => 'of-ms');
    const certificate = await rsaCertificate(t);
    const { client_id, tenant_id } = microsoft;
    const oauth = credentials({ client_id, tenant_id, certificate }, url);
    const auth = { user: USER, oauth };
    assert.match((await sendWith(smtpBackend(relay({ security: 'none', auth })))).join(), SENT);
    const { client_assertion, ...rest } = Object.fromEntries(forms[0] ?? []);
    assert.deepEqual(rest, {
      client_id,
      scope: 'https://outlook.office365.com/.default',
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    });
    const x509 = new X509Certificate(certificate);
    const thumbprint = createHash('sha256').update(x509.raw).digest('base64url');
    const { header, claims, signed, signature } = parts(client_assertion ?? '');
    assert.deepEqual(header, { alg: 'PS256', typ: 'JWT', 'x5t#S256': thumbprint });
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const key = { key: x509.publicKey, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
    assert.ok(verify('sha256', signed, key, signature));
    assert.deepEqual([claims['iss'], claims['sub'], claims['aud']], ['app-1', 'app-1', url.href]);
    assert.match(String(claims['jti']), /^[0-9a-f]{32}$/);
    // The key may also come first, as some tools write it; that of another certificate is an error.
    const turned = certificate.replace(/([^]*-----END CERTIFICATE-----\n)([^]*)/, '$2$1');
    assert.notEqual(turned, certificate);
    assert.equal(
      credentials({ ...microsoft, client_secret: '', certificate: turned }).kind,
      oauth.kind,
    );
    const foreign = x509.toString() + pem(rsa.privateKey);
    assert.throws(
      () => credentials({ client_id, tenant_id, certificate: foreign }),
      /not the PEM of a certificate and of its private key$/,
    );
  },
);

/** PEM of a self-signed certificate, and of its RSA key. */
async function rsaCertificate(t: TestContext): Promise<string> {
  const folder = scratch(t);
  const [key, file] = [join(folder, 'key'), join(folder, 'cert')];
  const words = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mailer'.split(' ');
  const { code, stderr } = await run(t, 'openssl', [...words, '-keyout', key, '-out', file]);
  assert.equal(code, 0, stderr);
  return readFileSync(file, 'utf8') + readFileSync(key, 'utf8');
}

test('credentials that cannot be used are refused with 78, and not shown (law 10)', () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rows: [object, RegExp][] = [
    [{}, /is not JSON that contains type "service_account" \(Google\), or tenant_id/],
    [{ client_id: 'i', client_secret: 's3cret' }, /is not JSON that contains/],
    [{ ...serviceAccount, private_key: '' }, /no client_email or no private_key/],
    [{ ...serviceAccount, client_email: 7 }, /no client_email or no private_key/],
    [{ ...serviceAccount, private_key: 's3cret' }, /private_key without the private key of an RSA/],
    [{ ...serviceAccount, private_key: pem(ec.privateKey) }, /private key of an RSA pair/],
    [{ ...microsoft, client_id: '' }, /has a tenant and no client_id/],
    [{ ...microsoft, client_secret: '' }, /either client_secret or certificate/],
    [{ ...microsoft, certificate: 's3cret' }, /either client_secret or certificate/],
    [
      { ...microsoft, client_secret: '', certificate: pem(rsa.privateKey) },
      /not the PEM of a cert/,
    ],
    [{ ...microsoft, client_secret: '', certificate: 's3cret' }, /certificate without the private/],
    ...[refresh, serviceAccount, microsoft].flatMap((json): [object, RegExp][] =>
      ['http://tokens.example/', 'http://127.0.0.1.example/', 'ftp://[::1]/', 'x'].map((uri) => [
        { ...json, token_uri: uri },
        /has a token_uri that does not begin with https:\/\/$/,
      ]),
    ),
  ];
  for (const [json, sentence] of rows) {
    assert.throws(
      () => parseOAuthCredentials(Buffer.from(JSON.stringify(json))),
      ({ message, exitCode }: CommandError) =>
        exitCode === 78 && sentence.test(message) && !message.includes('s3cret'),
      sentence.source,
    );
  }
});

/** This machine, with a monotonic clock that the test moves, and a wall clock that is so far off. */
function movedMachine(wallOffMs = 0): Machine & { at: number } {
  const machine = {
    ...thisMachine,
    at: 0,
    now: () => machine.at,
    wallNow: () => thisMachine.wallNow() + wallOffMs,
  };
  return machine;
}

test('a token is renewed before it ends, by one request at a time, and used meanwhile (law 12)', async (t) => {
  let answer: () => TokenAnswer | Promise<TokenAnswer> = () => ({
    access_token: `token-${forms.length}`,
    expires_in: '3600',
  });
  const { url, forms } = await tokenServer(t, () => answer());
  const machine = movedMachine();
  const tokens = new OAuthTokens(USER, credentials(microsoft, url), machine);
  const several = async () => Promise.all(Array.from({ length: 8 }, async () => tokens.token()));
  assert.deepEqual(await several(), Array(8).fill('token-1'));
  machine.at = 3_600_000 - limits.oauthRenewMs - 1;
  assert.deepEqual(await several(), Array(8).fill('token-1'));
  await sleep(thisMachine, 20); // What is asked of the endpoint has been asked by then.
  assert.equal(forms.length, 1);

  // It is renewed while the old one is still good, and those who need one do not wait.
  const normal = answer;
  let release: ((given: TokenAnswer) => void) | undefined;
  answer = async () =>
    new Promise<TokenAnswer>((resolve) => {
      release = resolve;
    });
  machine.at += 1;
  assert.deepEqual(await several(), Array(8).fill('token-1'));
  await until(
    () => forms.length === 2,
    () => 'no second request',
  );
  assert.deepEqual(await several(), Array(8).fill('token-1'));
  release?.(await normal());
  await until(
    async () => (await tokens.token()) === 'token-2',
    () => 'no new token',
  );
  assert.equal(forms.length, 2);

  // The endpoint is down while the token lives: it is asked now and then, and the token is used to its end.
  answer = () => ({ status: 503, body: 'busy' });
  const endsAt = machine.at + 3_600_000;
  machine.at = endsAt - limits.oauthRenewMs;
  for (; machine.at < endsAt; machine.at += limits.oauthRetryMs / 2) {
    assert.deepEqual(await several(), Array(8).fill('token-2'));
    await sleep(thisMachine, 20);
  }
  assert.ok(forms.length <= 3 + limits.oauthRenewMs / limits.oauthRetryMs);
  await assert.rejects(tokens.token(), {
    message: `no access token from ${url.origin}: status 503`,
  });
  answer = () => ({ access_token: 'endless' });
  assert.equal(await tokens.token(), 'endless');
  machine.at += 1e12;
  assert.equal(await tokens.token(), 'endless');
});

test('a token that lives shorter than usual is renewed after half of its life', async (t) => {
  const { url, forms } = await tokenServer(t, () => ({
    access_token: `token-${forms.length}`,
    expires_in: 60,
  }));
  const machine = movedMachine();
  const tokens = new OAuthTokens(USER, credentials(serviceAccount, url), machine);
  assert.equal(await tokens.token(), 'token-1');
  machine.at = 29_999;
  assert.equal(await tokens.token(), 'token-1');
  await sleep(thisMachine, 20); // What is asked of the endpoint has been asked by then.
  assert.equal(forms.length, 1);
  machine.at = 30_000;
  assert.equal(await tokens.token(), 'token-1');
  await until(
    async () => (await tokens.token()) === 'token-2',
    () => 'no new token',
  );
});

for (const json of [serviceAccount, microsoft]) {
  const kind = 'type' in json ? 'Google' : 'Microsoft';
  test(`a clock that is wrong by days stops no mail: ${kind} is asked again at its own time (law 12)`, async (t) => {
    const refused = { error: 'invalid_grant', error_description: 'Check your iat and exp values' };
    const isSigned = 'type' in json;
    const { url, forms } = await tokenServer(t, (form) => {
      const now = Date.now() / 1000;
      const assertion = form.get('assertion');
      const { iat, exp } = isSigned ? parts(assertion).claims : { iat: now, exp: now + 1 };
      const isGood = Math.abs(Number(iat) - now) < 10 && Number(exp) > now;
      return isGood ? { access_token: 'token' } : { status: 400, body: refused };
    });
    for (const days of [-40, 0, 40]) {
      const machine = movedMachine(days * 86_400_000);
      const tokens = new OAuthTokens(USER, credentials(json, url), machine);
      assert.equal(await tokens.token(), 'token');
    }
    assert.equal(forms.length, isSigned ? 5 : 3);
  });
}

const refusals: [json: object, answer: TokenAnswer, text: RegExp, todo: RegExp][] = [
  [
    serviceAccount,
    {
      error: 'unauthorized_client',
      error_description: 'Client is unauthorized to retrieve access tokens using this method',
    },
    /: unauthorized_client: Client is unauthorized/,
    /Domain-wide delegation, allow the client ID 1234567890 the scope https:\/\/mail\.google\.com\/ /,
  ],
  [
    serviceAccount,
    { error: 'invalid_grant', error_description: 'Invalid email or User ID' },
    /invalid_grant/,
    /set --smtp-user, which is sender@example\.org, to the main address of a user/,
  ],
  [
    serviceAccount,
    { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' },
    /Invalid JWT Signature/,
    /whether the service account mailer@p\.iam\S* exists.* JSON file of a new key/,
  ],
  [
    serviceAccount,
    {
      error: 'invalid_grant',
      error_description: 'Token must be a short-lived token and in a reasonable timeframe.',
    },
    /timeframe/,
    /set the clock/,
  ],
  [
    microsoft,
    { error: 'invalid_client', error_description: 'AADSTS7000222: The keys are expired.\r\nTrace' },
    /invalid_client: AADSTS7000222: The keys are expired. Trace/,
    /has expired: make another one under Certificates & secrets of the app registration app-1/,
  ],
  [
    microsoft,
    { error: 'invalid_client', error_description: 'AADSTS7000215: Invalid client secret' },
    /AADSTS7000215/,
    /the Value of a client secret .* and not its Secret ID/,
  ],
  [
    microsoft,
    { error: 'invalid_client', error_description: 'AADSTS700027: Client assertion contains' },
    /AADSTS700027/,
    /upload the certificate/,
  ],
  [
    microsoft,
    { error: 'unauthorized_client', error_description: 'AADSTS700016: Application was not found' },
    /unauthorized_client/,
    /set tenant_id and client_id .* Directory \(tenant\) ID/,
  ],
  [microsoft, { error: 'invalid_scope' }, /: invalid_scope$/, /see tenant_id, client_id/],
  [refresh, { error: 'invalid_grant' }, /: invalid_grant$/, /have a person allow a new one/],
  [refresh, { error: 'invalid_client' }, /: invalid_client$/, /set client_id, client_secret/],
  [
    refresh,
    { status: 302, body: '', headers: { location: '/' } },
    /: status 302$/,
    /set client_id/,
  ],
  [refresh, { status: 200, body: '<html>' }, /: status 200$/, /set client_id/],
];

test('a token that is refused is trouble of the relay, and the text says what to set at the provider (law 5, law 10)', async (t) => {
  for (const [json, answer, text, todo] of refusals) {
    const body = 'status' in answer ? answer : { status: 400, body: answer };
    const { url, forms } = await tokenServer(t, () => body);
    const { relay, messages } = await xoauth2Relay(t, () => 'none');
    const auth = { user: USER, oauth: credentials(json, url) };
    const tokens = new OAuthTokens(USER, auth.oauth, thisMachine);
    await assert.rejects(tokens.token(), (error: OAuthError) => {
      assert.ok(error instanceof OAuthError);
      assert.match(error.message, text);
      assert.match(error.remedy, todo);
      return true;
    });
    const [told = ''] = await sendWith(smtpBackend(relay({ security: 'none', auth })));
    assert.ok(told.startsWith('unavailable: the relay 127.0.0.1:'), told);
    assert.match(told, todo);
    assert.match(told, /\. To do: /);
    assert.doesNotMatch(told, /s3cret|PRIVATE KEY|assertion=/);
    assert.deepEqual([forms.length, messages.length], [2, 0]);
  }
});

test('a relay that refuses a good token: the text says what lacks there, and the next login has a new one (law 5)', async (t) => {
  for (const [json, reply, todo] of [
    [
      microsoft,
      '535 5.7.3 Authentication unsuccessful [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]',
      /Exchange does not let the application app-1 log in as sender@example\.org: .*New-ServicePrincipal and Add-MailboxPermission, .* SMTP\.SendAsApp/,
    ],
    [
      microsoft,
      '535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.',
      /Set-CASMailbox -Identity sender@example\.org -SmtpClientAuthenticationDisabled \$false/,
    ],
    [serviceAccount, '535-5.7.8 Username and Password not accepted.\n535 5.7.8 https', /has Gmail/],
  ] as const) {
    const { url, forms } = await tokenServer(t, () => ({
      access_token: 'token',
      expires_in: 3600,
    }));
    const EHLO = '250-relay.example\n250 AUTH LOGIN XOAUTH2';
    const smtp = await ScriptedSmtp.start(t, { EHLO, AUTH: reply });
    const auth = { user: USER, oauth: credentials(json, url) };
    const backend = smtpBackend(smtp.relay({ auth }));
    for (const asked of [1, 2]) {
      const [told = ''] = await sendWith(backend);
      assert.match(told, /^unavailable: .* to AUTH XOAUTH2\. To do: /);
      assert.match(told, todo);
      assert.equal(forms.length, asked);
    }
    smtp.script['AUTH'] = '235 2.7.0 Authentication successful';
    assert.match((await sendWith(backend)).join(), SENT);
    assert.deepEqual(smtp.said('AUTH'), Array(3).fill(smtp.said('AUTH')[0]));
  }
});

test('a relay that takes no passwords any more says so at the login or later: the text names OAuth (law 5)', async (t) => {
  const auth = { user: USER, pass: 'p' };
  const EHLO = '250-relay.example\n250 AUTH LOGIN PLAIN';
  const disabled = '535 5.7.139 Authentication unsuccessful, basic authentication is disabled.';
  const gone = '550 5.7.30 Basic authentication is not supported for Client Submission';
  for (const script of [
    { EHLO, AUTH: disabled },
    { EHLO, AUTH: '235 ok', MAIL: gone },
  ]) {
    const smtp = await ScriptedSmtp.start(t, script);
    const [told = ''] = await sendWith(smtpBackend(smtp.relay({ auth })));
    assert.match(
      told,
      /^unavailable: .*no passwords any more: use OAuth \(see appengine-mailer-oauth/,
    );
  }
});

test('a token endpoint that is not there: the queue waits, uncharged, and the journal says what to do (law 5)', async (t) => {
  const road = new Road(t);
  const { relay, messages } = await xoauth2Relay(t, () => 'token');
  let isUp = false;
  const { url } = await tokenServer(t, () =>
    isUp ? { access_token: 'token' } : { status: 500, body: 'down' },
  );
  const args = ['--backend', 'smtp', '--smtp-host', '127.0.0.1', '--smtp-security', 'none'];
  const at = ['--smtp-user', USER, '--smtp-port', String(relay({}).port)];
  const json = JSON.stringify({ ...serviceAccount, token_uri: url.href });
  const proxy = await road.proxy([...args, ...at], { APPENGINE_SMTP_OAUTH: json });
  handIn(road.spool, [{}]);
  assert.equal((await road.drain(['--once']).ended).code, 69);
  const told = `no access token from ${url.origin}: status 500. To do: see whether the service account`;
  assert.ok(proxy.stderr.includes(told), proxy.stderr);
  assert.doesNotMatch(proxy.stderr, /PRIVATE KEY/);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
    [['queued', 0]],
  );
  isUp = true;
  assert.equal((await road.drain(['--once']).ended).code, 0);
  assert.equal(messages.length, 1);
});

test('proxy check has a line for the token and one for the login, and finds a file that everybody can read (law 10)', async (t) => {
  const road = new Road(t);
  let token: TokenAnswer = { access_token: 'token', expires_in: 3600 };
  const { url } = await tokenServer(t, () => token);
  let valid = 'token';
  const { relay } = await xoauth2Relay(t, () => valid);
  const folder = join(road.folder, 'credentials');
  mkdirSync(folder);
  const file = join(folder, 'APPENGINE_SMTP_OAUTH');
  writeFileSync(file, JSON.stringify({ ...microsoft, token_uri: url.href }), { mode: 0o600 });
  const words = ['proxy', 'check', '--json', '--backend', 'smtp', '--smtp-host', '127.0.0.1'];
  const at = [
    '--smtp-security',
    'none',
    '--smtp-user',
    USER,
    '--smtp-port',
    String(relay({}).port),
  ];
  const check = async () => {
    const env = { GMAIL_SECRET_KEY: road.key, CREDENTIALS_DIRECTORY: folder };
    const args = [...words, ...at, '--smtp-name', 'me.example.org'];
    const { stdout } = await appengineMailer(t, args, { cwd: road.folder, env, input: '' }).ended;
    const lines = stdout.toString().trimEnd().split('\n');
    const found = lines.map((line) => JSON.parse(line) as Record<string, string | boolean | null>);
    assert.doesNotMatch(stdout.toString(), /s3cret/);
    return new Map(found.map((each) => [each['check'], each]));
  };
  const good = await check();
  assert.equal(good.get('token')?.['text'], `${url.origin} gives access tokens`);
  assert.equal(good.get('login')?.['text'], `it takes the access token of ${USER}`);
  assert.equal(good.get('quit')?.['ok'], true);
  assert.equal(good.has('secrets'), false);

  valid = 'another';
  const refused = await check();
  assert.deepEqual([refused.get('token')?.['ok'], refused.get('login')?.['ok']], [true, false]);

  token = { status: 401, body: { error: 'invalid_client', error_description: 'AADSTS7000222: x' } };
  chmodSync(file, 0o644);
  const bad = await check();
  assert.deepEqual([bad.get('token')?.['ok'], bad.get('login')?.['ok']], [false, null]);
  assert.match(String(bad.get('token')?.['text']), /invalid_client: AADSTS7000222: x$/);
  assert.match(String(bad.get('token')?.['todo']), /^the client secret has expired/);
  assert.equal(bad.get('secrets')?.['ok'], false);
  assert.match(String(bad.get('secrets')?.['text']), /has mode 0644, so that everybody/);
});
