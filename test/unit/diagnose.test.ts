import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import type { PostFailure } from '../../src/wire/attempt.ts';
import { diagnose, resolveScope, type HealthSince } from '../../src/wire/diagnose.ts';
import { decodeVerdicts } from '../../src/wire/verdicts.ts';
import { holds } from '../support/holds.ts';

/** Whom an answer blames: the endpoint always, or the message when posts, or already a probe, pass. */
type Blamed =
  | 'the endpoint'
  | 'the message when posts pass'
  | 'the message when a probe passes'
  | 'the message';

const blamed: Record<Blamed, Record<HealthSince, 'endpoint' | 'message'>> = {
  'the endpoint': { nothing: 'endpoint', probe: 'endpoint', posts: 'endpoint' },
  'the message when posts pass': { nothing: 'endpoint', probe: 'endpoint', posts: 'message' },
  'the message when a probe passes': { nothing: 'endpoint', probe: 'message', posts: 'message' },
  'the message': { nothing: 'message', probe: 'message', posts: 'message' },
};

/** A test a row: what came, whom it blames, and a word of what the operator is to do, if anything. */
function row(
  name: string,
  answer: PostFailure,
  blames: Blamed,
  remedy?: RegExp,
  text?: RegExp,
): void {
  test(`${name}: trouble of ${blames} (law 5)`, () => {
    const { scope, ...meaning } = diagnose(answer);
    for (const passing of ['nothing', 'probe', 'posts'] as const) {
      assert.equal(resolveScope(scope, passing), blamed[blames][passing], `${passing} passing`);
    }
    if (remedy) assert.match(meaning.remedy ?? 'no remedy', remedy);
    else assert.equal(meaning.remedy, undefined);
    assert.match(meaning.text, text ?? /./);
  });
}

type Stage = Extract<PostFailure, { kind: 'network' }>['stage'];

const network = (
  code: string,
  stage: Stage = 'request',
  text = `what the system says of ${code}`,
): PostFailure => ({ kind: 'network', stage, code, text });

const ofWebProxy = (webProxy: string, code: string, text?: string): PostFailure => ({
  ...(network(code, 'connecting', text) as Extract<PostFailure, { kind: 'network' }>),
  webProxy,
});

row(
  'an unknown name',
  network('ENOTFOUND', 'connecting'),
  'the endpoint',
  /host name .* DNS/,
  /name is unknown/,
);
for (const [name, code] of [
  ['a resolver that does not answer', 'EAI_AGAIN'],
  ['a resolver that fails', 'EAI_FAIL'],
] as const) {
  const said = /name cannot be looked up: .*EAI_/;
  row(name, network(code, 'connecting'), 'the endpoint', /name server: \/etc\/resolv\.conf/, said);
}
const noWayThere = [
  ['a refused connection', 'ECONNREFUSED'],
  ['a host out of reach', 'EHOSTUNREACH'],
  ['a host that is down', 'EHOSTDOWN'],
  ['a network out of reach', 'ENETUNREACH'],
  ['a network that is down', 'ENETDOWN'],
  ['a connection that takes too long', 'ETIMEDOUT'],
  ['a connection that is reset while it is opened', 'ECONNRESET'],
  ['no port left', 'EADDRNOTAVAIL'],
  ['no file descriptor left', 'EMFILE'],
  ['no file descriptor left anywhere', 'ENFILE'],
] as const;
for (const [name, code] of noWayThere) {
  row(name, network(code, 'connecting'), 'the endpoint', undefined, /cannot be reached/);
}

row(
  'an answer that leaves open whether the message was sent',
  { kind: 'maybe-sent', text: 'the server answered 202', remedy: 'look whether it arrived' },
  'the endpoint',
  /look whether it arrived/,
  /answered 202/,
);

const distrusted = [
  ['a self-signed certificate', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['a private authority', 'SELF_SIGNED_CERT_IN_CHAIN'],
  ['an incomplete chain', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ['an unknown issuer', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
  ['an expired certificate', 'CERT_HAS_EXPIRED'],
  ['a certificate of tomorrow', 'CERT_NOT_YET_VALID'],
  ['a revoked certificate', 'CERT_REVOKED'],
  ['a bad signature in a certificate', 'CERT_SIGNATURE_FAILURE'],
  ['an invalid authority', 'INVALID_CA'],
  ['a certificate for something else', 'INVALID_PURPOSE'],
  ['a chain that is too long', 'PATH_LENGTH_EXCEEDED'],
  ['a certificate for another name', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['another name, as OpenSSL says it', 'HOSTNAME_MISMATCH'],
  ['an expired CRL', 'CRL_HAS_EXPIRED'],
  ['no TLS on that port', 'EPROTO'],
  ['a TLS alert', 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA'],
  ['a TLS handshake that stalls', 'ERR_TLS_HANDSHAKE_TIMEOUT'],
] as const;
for (const [name, code] of distrusted) {
  const answer = network(code, 'connecting');
  row(name, answer, 'the endpoint', /certificate.*--ca-file/, /no trusted TLS/);
}

const notTls = [
  ['an HTTP port', 'ERR_SSL_WRONG_VERSION_NUMBER'],
  ['an SSH port', 'ERR_SSL_PACKET_LENGTH_TOO_LONG'],
  ['an HTTP client', 'ERR_SSL_HTTP_REQUEST'],
] as const;
for (const [name, code] of notTls) {
  const answer = network(code, 'connecting');
  row(`TLS with ${name}`, answer, 'the endpoint', /http: is meant/, /does not speak TLS/);
}

row(
  'a web proxy that lets nothing through',
  ofWebProxy(
    'https_proxy',
    'HTTP_407',
    'it answered 407 Proxy Authentication Required to CONNECT a:443',
  ),
  'the endpoint',
  /user and password in https_proxy/,
  /https_proxy lets nothing through.*407/,
);
for (const [name, code] of [
  ...noWayThere,
  ...distrusted,
  ...notTls,
  ['an unknown name', 'ENOTFOUND'],
]) {
  const answer = ofWebProxy('ALL_PROXY', code);
  row(
    `the web proxy and ${name}`,
    answer,
    'the endpoint',
    /in ALL_PROXY,.*no_proxy/,
    /server of ALL_PROXY cannot be used/,
  );
}
row(
  'bytes that the spool has lost',
  { kind: 'unreadable', text: 'part 3 is gone' },
  'the message',
  undefined,
  /cannot be posted: part 3 is gone/,
);

test('what it says of the program is as true of the library as of drain', () => {
  for (const answer of [{ kind: 'aborted' }, { kind: 'unreadable', text: 'x' }] as const) {
    assert.doesNotMatch(diagnose(answer).text, /drain|spool/);
  }
});

row('an impossible URL', network('ERR_INVALID_URL'), 'the endpoint', /GMAIL_PROXY_URL/);
row('an impossible request', network('UND_ERR_INVALID_ARG'), 'the endpoint', /https_proxy/);

const brokenOff = [
  ['a reset', 'ECONNRESET'],
  ['a broken pipe', 'EPIPE'],
  ['a connection that went silent', 'ETIMEDOUT'],
  ['an aborted connection', 'ECONNABORTED'],
  ['a connection closed by the other side', 'UND_ERR_SOCKET'],
  ['an answer that does not come', 'TIMEOUT'],
  ['an answer that is cut short', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
  ['an answer without an end', 'UND_ERR_RES_EXCEEDED_MAX_SIZE'],
  ['an answer that is not HTTP', 'HPE_INVALID_CONSTANT'],
  ['headers without an end', 'UND_ERR_HEADERS_OVERFLOW'],
  ['anything that nobody thought of', 'UNKNOWN'],
] as const;
for (const [name, code] of brokenOff) {
  row(name, network(code), 'the message when a probe passes', undefined, /the post .* failed/);
}

const http = (status: number, text = '', retryAfterMs?: number): PostFailure => ({
  kind: 'http',
  status,
  text,
  retryAfterMs,
});

// ZoneMTA bounced at every 4xx, Postal at 429; vector #10870 dropped at 401, 403 and 404.
for (const status of [100, 101, 103, 199, 0]) {
  row(`HTTP ${status}, no final answer`, http(status), 'the endpoint', /--wire/);
}
for (const status of [201, 202, 204, 206, 226]) {
  row(`HTTP ${status}, of another server`, http(status), 'the endpoint', /--wire/);
}
for (const status of [300, 301, 302, 303, 304, 307, 308, 399]) {
  row(`HTTP ${status}, a redirect`, http(status), 'the endpoint', /final address/, /not followed/);
}
row('HTTP 401', http(401), 'the endpoint', /GMAIL_SECRET_KEY/);
row('HTTP 403', http(403), 'the message when posts pass', /firewall/);
row('HTTP 404', http(404), 'the endpoint', /path/);
row('HTTP 405', http(405), 'the endpoint', /takes no posts/);
row('HTTP 407', http(407), 'the endpoint', /https_proxy/);
row('HTTP 410', http(410), 'the endpoint', /GMAIL_PROXY_URL/);
row('HTTP 429', http(429), 'the endpoint');
const when = 'the message when a probe passes';
row('HTTP 400', http(400), when, /https: .* --wire v1/);
for (const status of [408, 409]) row(`HTTP ${status}`, http(status), when);
row('HTTP 413', http(413), when, undefined, /answered 413 \(too large .*client_max_body_size/);
for (const status of [402, 406, 411, 414, 415, 418, 422, 425, 426, 431, 451, 499]) {
  row(`HTTP ${status}`, http(status), 'the message when posts pass');
}
for (const status of [500, 501, 507, 520, 599, 999]) row(`HTTP ${status}`, http(status), when);
row('HTTP 502', http(502), when, /start the proxy/, /502 \(a web server answers/);
row('HTTP 504', http(504), when, undefined, /504 \(a web server answers/);
row('HTTP 503', http(503), 'the message when posts pass');
row('HTML of a load balancer with 502', http(502, ''), when, /start the proxy/);

const unsigned: PostFailure = {
  kind: 'invalid-response',
  signed: false,
  fault: 'it is not signed',
};
row('a 200 without our signature', unsigned, 'the endpoint', /GMAIL_PROXY_URL/, /not signed/);
const faults: [name: string, body: string][] = [
  ['that is an HTML page', '<html>ok</html>'],
  ['that is cut short', '{"id":"one","verdicts":[{"recip'],
  ['about another message', '{"id":"other","verdicts":[]}'],
  ['without verdicts', '{"id":"one"}'],
  ['with too few verdicts', '{"id":"one","verdicts":[]}'],
  ['about another recipient', '{"id":"one","verdicts":[{"recipient":"b@c"}]}'],
];
for (const [name, body] of faults) {
  const decoded = decodeVerdicts(Buffer.from(body), 'one', ['a@b']);
  assert.ok('fault' in decoded);
  const answer: PostFailure = { kind: 'invalid-response', signed: true, ...decoded };
  row(`a signed 200 ${name}`, answer, 'the message when a probe passes', undefined, /the answer/);
}
row('a clock that stays wrong', { kind: 'clock' }, 'the endpoint', /clocks of both/);
row('an attempt that drain gave up', { kind: 'aborted' }, 'the endpoint');

test('a Retry-After is not heeded where only a person can help', () => {
  for (const status of [204, 302, 401, 403, 404, 405, 407, 410]) {
    assert.equal(diagnose(http(status, '', 7000)).retryAfterMs, undefined, String(status));
  }
});

row(
  'an answer that a v1 server gives to a wrong key',
  { kind: 'http', status: 400, text: "Signature doesn't match", retryAfterMs: 1, wrongKey: true },
  'the endpoint',
  /GMAIL_SECRET_KEY/,
  /answered 400 "Signature doesn't match"$/,
);
row(
  'a connection that is closed after the first probe',
  network('CLOSED_AFTER_PROBE', 'connecting', 'it was closed'),
  'the endpoint',
  /being stopped/,
  /^without TLS, .* a probe: it was closed$/,
);
row(
  'a first probe that gets the answer of another server',
  { kind: 'probe-failed', failure: http(500) },
  'the endpoint',
  undefined,
  /answered 500/,
);
row(
  'a proxy that asks for fewer posts',
  { kind: 'slower', text: 'busy', retryAfterMs: 1 },
  'the endpoint',
  undefined,
  /^the proxy asks for fewer posts: busy$/,
);

test('what the server says and asks for is passed on', () => {
  assert.match(diagnose(http(503, 'relay down', 7000)).text, /answered 503 "relay down"$/);
  for (const status of [400, 422, 429, 500, 502, 503]) {
    assert.equal(diagnose(http(status, '', 7000)).retryAfterMs, 7000, String(status));
  }
  const said = 'connect ECONNREFUSED 192.0.2.1:443';
  assert.equal(
    diagnose(network('ECONNREFUSED', 'connecting', said)).text,
    `the proxy cannot be reached: ${said}`,
  );
  assert.match(
    diagnose(network('ECONNRESET', 'request', 'other side closed')).text,
    /closed \(ECONNRESET\)$/,
  );
});

const anyTrouble: fc.Arbitrary<PostFailure> = fc.oneof(
  fc.constant<PostFailure>({ kind: 'clock' }),
  fc.constant<PostFailure>({ kind: 'aborted' }),
  fc.record({
    kind: fc.constant('invalid-response' as const),
    signed: fc.boolean(),
    fault: fc.string({ minLength: 1 }),
  }),
  fc.record({
    kind: fc.constant('http' as const),
    status: fc.oneof(fc.integer({ min: 100, max: 599 }), fc.integer()),
    text: fc.string({ unit: 'binary' }),
    retryAfterMs: fc.option(fc.nat(), { nil: undefined }),
  }),
  fc.record({
    kind: fc.constant('network' as const),
    stage: fc.constantFrom('connecting' as const, 'request' as const),
    webProxy: fc.constantFrom(undefined, 'https_proxy'),
    code: fc.oneof(
      fc.constantFrom(...[...noWayThere, ...distrusted, ...brokenOff].map(([, code]) => code)),
      fc.string(),
    ),
    text: fc.string({ unit: 'binary' }),
  }),
);

test('no answer whatever is the fault of a message when nothing else passes (law 5)', (t) => {
  holds(
    t,
    fc.property(anyTrouble, (answer) => {
      const { scope, text } = diagnose(answer);
      assert.equal(resolveScope(scope, 'nothing'), 'endpoint');
      assert.ok(text.length > 0);
    }),
    2000,
  );
});

test('what a message is blamed for while a probe passes, it is blamed for while posts pass', (t) => {
  holds(
    t,
    fc.property(anyTrouble, (answer) => {
      const { scope } = diagnose(answer);
      if (resolveScope(scope, 'probe') === 'message')
        assert.equal(resolveScope(scope, 'posts'), 'message');
    }),
    2000,
  );
});
