import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

test('queue --json: one object a line with the fields of the contract, null for what is absent', async (t) => {
  const road = new Road(t);
  const before = Date.now();
  const [id] = handIn(road.spool, [
    { sender: '', recipients: ['a@example.org', 'b@example.org'], bytes: 'xyz\n' },
  ]);
  const { code, stdout, stderr } = await road.queue('--json');
  assert.deepEqual([code, stderr], [0, '']);
  const lines = stdout.toString().split('\n');
  assert.equal(lines.length, 2);
  const { exim_id, queued_at, due_at, expires_at, ...message } = JSON.parse(
    lines[0] ?? '',
  ) as Record<string, string>;
  assert.deepEqual(message, {
    id,
    state: 'queued',
    sender: '',
    recipients: ['a', 'b'].map((name) => ({
      address: `${name}@example.org`,
      state: 'pending',
      status: null,
      reason: null,
    })),
    size: 4,
    attempts: 0,
    last_status: null,
    last_reason: null,
  });
  assert.match(exim_id ?? '', /^test-\d+$/);
  for (const time of [queued_at, due_at, expires_at]) assert.match(time ?? '', rfc3339);
  assert.equal(queued_at, due_at);
  assert.ok(Date.parse(queued_at ?? '') >= before);
  // No drain has written observed time down for a while.
  const livesMs = Date.parse(expires_at ?? '') - Date.parse(queued_at ?? '');
  assert.ok(Math.abs(livesMs - 5 * 86_400_000) <= limits.housekeepingMs, `${livesMs}`);
  assert.equal(
    Object.keys(JSON.parse(lines[0] ?? '') as object).join(' '),
    'id exim_id state sender recipients size queued_at due_at attempts last_status last_reason expires_at',
  );
  assert.equal((await road.queue('list', '--json')).stdout.toString(), stdout.toString());
});

test('statuses are enhanced, and a finished or held message has no due time and does not expire', async (t) => {
  const road = new Road(t);
  const ids = handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org'] }, {}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer((recipient) =>
      recipient === 'b@example.org'
        ? { status: '5.1.1', reason: 'no such user' }
        : { status: '2.0.0', reason: 'ok' },
    ),
  );
  await road.queue('hold', ids[2] ?? '');
  await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  const [failed, sent, held] = await road.messages();
  assert.deepEqual(failed?.['recipients'], [
    { address: 'a@example.org', state: 'sent', status: '2.0.0', reason: 'ok' },
    { address: 'b@example.org', state: 'failed', status: '5.1.1', reason: 'no such user' },
  ]);
  for (const [message, state, status, reason] of [
    [failed, 'failed', '5.1.1', 'no such user'],
    [sent, 'sent', '2.0.0', 'ok'],
    [held, 'held', null, null],
  ] as const) {
    const { state: is, due_at, expires_at, last_status, last_reason } = message ?? {};
    assert.deepEqual(
      [is, due_at, expires_at, last_status, last_reason],
      [state, null, null, status, reason],
    );
  }
});

test('filters: by state, sender, recipient and age; without --state only what an operator cares about', async (t) => {
  const road = new Road(t);
  const [old] = handIn(road.spool, [{ sender: 'old@example.com' }], {
    queuedAt: Date.now() - 2 * 3_600_000,
  });
  const [ü, two] = handIn(road.spool, [
    { sender: 'ü@example.com' },
    { recipients: ['x@example.org', 'y@example.org'] },
  ]);
  const [deleted, held] = handIn(road.spool, [{}, {}]);
  await road.queue('delete', deleted ?? '');
  await road.queue('hold', held ?? '');
  const ids = async (...args: string[]) => (await road.messages(...args)).map(({ id }) => id);
  assert.deepEqual(await ids(), [old, ü, two, deleted, held]);
  for (const [args, expected] of [
    [['--sender', 'ü@example.com'], [ü]],
    [['--recipient', 'y@example.org'], [two]],
    [['--older-than', '1h'], [old]],
    [['--state', 'deleted'], [deleted]],
    [
      ['--older-than', '0s'],
      [old, ü, two, held],
    ],
  ] as const) {
    assert.deepEqual(await ids(...args), expected, args.join(' '));
  }
});

test('a filter takes a domain, addresses within < >, and both cases; --ids prints ids alone', async (t) => {
  const road = new Road(t);
  const [web, bounce, other] = handIn(road.spool, [
    { sender: 'WWW-data@Web.example', recipients: ['a@x.example', 'b@Big.example'] },
    { sender: '', recipients: ['c@notbig.example'] },
    { sender: 'root@notweb.example', recipients: ['d@x.example'] },
  ]);
  for (const [args, expected] of [
    [['--sender', '@web.example'], [web]],
    [
      ['--recipient', '@X.example'],
      [web, other],
    ],
    [['--recipient', '@big.example'], [web]],
    [['--sender', '<www-DATA@web.example>'], [web]],
    [['--sender', '<>'], [bounce]],
  ] as const) {
    const { code, stdout } = await road.queue('list', '--ids', ...args);
    assert.deepEqual([code, stdout.toString()], [0, `${expected.join('\n')}\n`], args.join(' '));
  }
});

test('a filter without @ is a usage error that says how to write a domain; within < > it is an address', async (t) => {
  const road = new Road(t);
  const [local = ''] = handIn(road.spool, [
    { sender: 'root', recipients: ['postmaster'] },
    { sender: 'a@example.com', recipients: ['b@example.org'] },
  ]);
  for (const option of ['--sender', '--recipient']) {
    for (const command of ['list', 'delete', 'hold']) {
      const { code, stdout, stderr } = await road.queue(command, option, 'example.org');
      assert.deepEqual([code, stdout.toString()], [64, ''], command);
      assert.match(
        stderr,
        new RegExp(`${option} takes .* such as name@example.org, @example.org, or <example.org>`),
      );
    }
  }
  for (const filter of [
    ['--sender', '<root>'],
    ['--recipient', '<postmaster>'],
  ]) {
    assert.equal((await road.queue('list', '--ids', ...filter)).stdout.toString(), `${local}\n`);
  }
});

test('the list ends with a total; a filter that nothing fits says so and exits with 1', async (t) => {
  const road = new Road(t);
  const [gone = ''] = handIn(road.spool, [{}]);
  await road.queue('delete', gone);
  assert.equal((await road.queue()).stdout.toString(), 'no messages\n');
  handIn(road.spool, [{ bytes: 'xyz\n' }, { bytes: Buffer.alloc(1_500_000, 'a line\n') }]);
  assert.match((await road.queue('list')).stdout.toString(), /\n2 messages, 1\.5 MB\n$/);
  const commands = ['list', 'retry', 'hold', 'release', 'bounce', 'delete', 'return'];
  for (const command of [...commands, 'list --json', 'list --ids']) {
    const args = [...command.split(' '), '--recipient', '@none.example'];
    const { code, stdout, stderr } = await road.queue(...args);
    assert.deepEqual([code, stdout.toString()], [1, ''], command);
    assert.match(stderr, /no message matches the filter/);
  }
});

test('the commands on messages take filters in place of ids, and refuse both at once', async (t) => {
  const road = new Road(t);
  const [web, , old] = handIn(road.spool, [{ sender: 'www@web.example' }, {}]).concat(
    handIn(road.spool, [{ sender: 'www@web.example' }], { queuedAt: Date.now() - 2 * 3_600_000 }),
  );
  const held = async (...args: string[]) =>
    (await road.messages('--state', 'held', ...args)).map(({ id }) => id);
  const held1 = await road.queue('hold', '--sender', '@web.example', '--older-than', '1h');
  assert.deepEqual([held1.code, held1.stdout.toString()], [0, 'held 1 message for 1 recipient\n']);
  assert.deepEqual(await held(), [old]);
  assert.equal(
    (await road.queue('delete', '--state', 'held')).stdout.toString(),
    'deleted 1 message for 1 recipient\n',
  );
  assert.equal(lookInto(road.spool).counters.deleted, 1);
  const unfit = await road.queue('release', '--sender', '@web.example', '--state', 'queued');
  assert.deepEqual([unfit.code, unfit.stdout.toString()], [1, 'released 0 messages\n']);
  assert.match(unfit.stderr, new RegExp(`not in a state to release.*${web} is queued`));
  for (const args of [
    [web ?? '', '--all'],
    ['--all', '--sender', '@x.example'],
    [web ?? '', '--sender', '@x.example'],
    [],
  ]) {
    const { code, stderr } = await road.queue('delete', ...args);
    assert.equal(code, 64);
    assert.match(stderr, /choose messages in one way/);
  }
  assert.equal(lookInto(road.spool).counters.queued, 2);
});

test('queue show: fields for people, one JSON object, or the exact bytes however large', async (t) => {
  const road = new Road(t);
  const bytes = Buffer.concat([
    Buffer.from('Subject: x\n\n\0\r\xff.\n', 'latin1'),
    Buffer.alloc(3_000_000, 'a line of text\n'),
  ]);
  const [id = ''] = handIn(road.spool, [{ bytes }]);
  const raw = await road.queue('show', id, '--raw');
  assert.equal(raw.code, 0);
  assert.ok(raw.stdout.equals(bytes), `${raw.stdout.length} of ${bytes.length} bytes`);
  const shown = await road.queue('show', id);
  assert.match(shown.stdout.toString(), new RegExp(`^id: +${id}\n`));
  assert.match(shown.stdout.toString(), /^recipient: +<r@example\.org> pending$/m);
  const [listed] = await road.messages();
  const json = await road.queue('show', id, '--json');
  assert.deepEqual(JSON.parse(json.stdout.toString()), listed);

  await road.queue('delete', id);
  const gone = await road.queue('show', id, '--raw');
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /the body of message \w+ has been removed/);
  assert.equal((await road.queue('show', id)).code, 0);
});

test('stats: the nouns of law 8, adding up, in messages and in bytes; --max-age answers 1 when a message waits longer (law 8)', async (t) => {
  const road = new Road(t);
  const messages = [1000, 30, 300, 2000].map((size) => ({ bytes: 'x'.repeat(size) }));
  const ids = handIn(road.spool, messages, { queuedAt: Date.now() - 3_600_000 });
  await road.queue('delete', ids[0] ?? '');
  await road.queue('hold', ids[1] ?? '');
  const { stdout } = await road.queue('stats', '--json');
  const { oldest_queued_at, ...stats } = JSON.parse(stdout.toString()) as Record<string, unknown>;
  assert.deepEqual(stats, {
    accepted: 4,
    queued: 2,
    sending: 0,
    held: 1,
    failed: 0,
    sent: 0,
    damaged: 0,
    bounced: 0,
    deleted: 1,
    bytes: {
      accepted: 3330,
      queued: 2300,
      sending: 0,
      held: 30,
      failed: 0,
      sent: 0,
      damaged: 0,
      bounced: 0,
      deleted: 1000,
    },
    proxy_down_since: null,
    proxy_reason: null,
    last_passed_at: null,
    fallback_url: null,
    fallback_reason: null,
    fallback_since: null,
  });
  assert.match(String(oldest_queued_at), rfc3339);
  const text = await road.queue('stats');
  assert.match(
    text.stdout.toString(),
    /^accepted 4, deleted 1, held 1, queued 2\nsize: accepted 3.3 kB, deleted 1.0 kB, held 30 bytes, queued 2.3 kB\n/,
  );

  assert.equal((await road.queue('stats', '--max-age', '2h')).code, 0);
  const late = await road.queue('stats', '--max-age', '30m');
  assert.equal(late.code, 1);
  assert.match(late.stderr, /the oldest message has waited for 60 min/);

  await road.drain(['--once']).ended; // Nobody listens there.
  const down = JSON.parse((await road.queue('stats', '--json')).stdout.toString()) as Record<
    string,
    unknown
  >;
  assert.match(String(down['proxy_down_since']), rfc3339);
  assert.match(String(down['proxy_reason']), /ECONNREFUSED/);
  await road.queue('delete', '--all');
  assert.equal((await road.queue('stats', '--max-age', '1s')).code, 0, 'nothing waits');
  assert.equal(lookInto(road.spool).counters.deleted, 4);
});
