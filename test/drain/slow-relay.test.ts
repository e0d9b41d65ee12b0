import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { rowsOf } from '../support/controlled-deliverer.ts';
import { clock } from '../support/clock.ts';
import { figures, LONG, timeLimit } from '../support/figures.ts';
import { handIn, type Mail } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { SlowRelay, type Pace } from '../support/slow-relay.ts';

/** How much faster time runs for our programs: a minute of theirs takes two seconds. */
const SPEED = 30;
const env = clock(`+0 x${SPEED}`);

/** `pace` is in seconds on the programs' clocks. */
async function start(
  t: TestContext,
  pace: Record<string, number>,
  { args = [] as readonly string[], speed = SPEED } = {},
) {
  const road = new Road(t);
  const steps = Object.entries(pace).map(([step, each]) => [step, (each * 1000) / speed]);
  const relay = await SlowRelay.start(t, Object.fromEntries(steps) as Pace);
  const proxy = await road.proxy([...relay.options, ...args], clock(`+0 x${speed}`));
  return { road, relay, proxy };
}

/** Fails unless all mail of the spool was sent, nothing is unknown, and nobody called the proxy down. */
function assertAllSent(road: Road, spools: readonly string[], drains: readonly Program[]): void {
  for (const spool of spools) {
    const { counters } = lookInto(spool);
    assert.equal(counters.sent, counters.accepted, JSON.stringify(counters));
  }
  assert.deepEqual(rowsOf(join(road.folder, 'ledger.db'), 'unknown'), []);
  for (const { stderr } of drains) assert.doesNotMatch(stderr, / is down|attention|MAIL_STATUS=5/);
}

test(
  'a relay that takes 300 s for the final dot gets one copy, and its answer is heard (law 13)',
  { ...needs('faketime'), timeout: timeLimit(120_000) },
  async (t) => {
    const { road, relay } = await start(t, { dot: 300 });
    const drain = road.drain([], env);
    handIn(road.spool, [{}]);
    await drain.says(/the proxy is still sending it to <\S+>, and is asked again/);
    await drain.says(/> sent \(2\.0\.0 250 2\.0\.0 taken\)/);
    await drain.stop();
    assert.deepEqual([...relay.copies.values()], [1]);
    const [message] = lookInto(road.spool).messages;
    assert.deepEqual([message?.state, message?.attempts], ['sent', 1]);
    assertAllSent(road, [road.spool], [drain]);
  },
);

test(
  'a backlog that fills all connections to a slow relay is delivered once, without an outage (law 13)',
  { ...needs('faketime'), timeout: timeLimit(180_000) },
  async (t) => {
    const rows = LONG
      ? table()
      : [{ dot: 15, hosts: 3, messages: 60, connections: 4, speed: SPEED }];
    for (const row of rows) await backlog(t, row);
  },
);

interface Row {
  /** Seconds for the final dot. */
  dot: number;
  hosts: number;
  /** Of all hosts together. */
  messages: number;
  connections: number;
  /** How much faster time runs: what the machine itself needs for many messages grows with it. */
  speed: number;
}

/** Delays × hosts × backlogs. */
function table(): Row[] {
  const rows: [dot: number, speed: number, few: number, many: number][] = [
    [0, 1, 300, 3000],
    [2, 5, 300, 1500],
    [15, 10, 200, 600],
    [60, 20, 100, 400],
    [300, 30, 60, 200],
  ];
  return rows.flatMap(([dot, speed, ...backlogs]) =>
    [1, 3, 10].flatMap((hosts) =>
      backlogs.map((messages) => ({ dot, hosts, messages, connections: 20, speed })),
    ),
  );
}

async function backlog(
  t: TestContext,
  { dot, hosts, messages, connections, speed }: Row,
): Promise<void> {
  const args = ['--smtp-connections', String(connections)];
  const { road, relay, proxy } = await start(t, { dot }, { args, speed });
  const spools = Array.from({ length: hosts }, (_, host) => join(road.folder, `host${host}`));
  const perHost = Math.ceil(messages / hosts);
  for (const [host, spool] of spools.entries()) {
    mkdirSync(spool);
    const mails = Array.from({ length: perHost }, (_, number): Mail => {
      return { bytes: `Subject: ${host}-${number}\n\nx\n` };
    });
    handIn(spool, mails);
  }
  const drains = spools.map((spool) =>
    appengineMailer(t, ['drain', '--spool', spool], {
      env: {
        GMAIL_PROXY_URL: `http://${road.address}/`,
        GMAIL_SECRET_KEY: road.key,
        ...clock(`+0 x${speed}`),
      },
    }),
  );
  await Promise.all(drains.map(async (drain) => drain.says(/> sent \(2/, perHost)));
  for (const drain of drains) await drain.stop();
  await proxy.stop();
  const name = `relay's dot ${dot} s, ${hosts} hosts, ${perHost * hosts} messages`;
  const unknown = rowsOf(join(road.folder, 'ledger.db'), 'unknown').length;
  figures(t, name, { 'copies beyond one': relay.doubled, unknown });
  assert.deepEqual([relay.copies.size, relay.doubled], [perHost * hosts, 0], name);
  if (!LONG) assert.match(drains.map(({ stderr }) => stderr).join(), /asks for fewer posts/);
  assertAllSent(road, spools, drains);
}

test(
  '60 recipients at a second each are delivered in one transaction (law 13)',
  { ...needs('faketime'), timeout: timeLimit(180_000) },
  async (t) => {
    const { road, relay } = await start(t, { rcpt: 1 });
    const recipients = Array.from({ length: 60 }, (_, number) => `r${number}@example.org`);
    const drain = road.drain([], env);
    handIn(road.spool, [{ recipients }]);
    await drain.says(/ more sent \(2\.0\.0/);
    await drain.stop();
    assert.equal(relay.doubled, 0);
    assert.deepEqual(relay.recipients.slice(0, 60), recipients);
    assertAllSent(road, [road.spool], [drain]);
  },
);

for (const [what, pace] of [
  ['a greeting after 40 s', { greeting: 40 }],
  ['a greeting after 120 s', { greeting: 120 }],
  ['a RCPT of 60 s', { rcpt: 60 }],
] as const) {
  test(
    `${what} holds mail up no longer than that (law 13)`,
    { ...needs('faketime'), timeout: timeLimit(60_000) },
    async (t) => {
      const { road, relay } = await start(t, pace);
      handIn(road.spool, [{}, {}, {}]);
      const drain = road.drain([], env);
      await drain.says(/> sent \(2\.0\.0/, 3);
      await drain.stop();
      assert.equal(relay.doubled, 0);
      assertAllSent(road, [road.spool], [drain]);
    },
  );
}

test(
  'one recipient that hangs at the start of drain holds up only itself (law 13)',
  { ...needs('faketime'), timeout: timeLimit(120_000) },
  async (t) => {
    const { road, relay } = await start(t, {});
    relay.pace.rcpt = (recipient) => (recipient === HANGS ? 240_000 / SPEED : 0);
    const quick = Array.from({ length: 20 }, (_, number) => ({
      bytes: `Subject: quick ${number}\n\nx\n`,
    }));
    handIn(road.spool, [{ recipients: [HANGS], bytes: 'Subject: hangs\n\nx\n' }, ...quick]);
    const drain = road.drain([], env);
    await drain.says(/> sent \(2\.0\.0/, 20);
    assert.ok(!relay.copies.has('hangs'), 'the others were sent while it was hanging');
    await drain.says(/> sent \(2\.0\.0/, 21);
    await drain.stop();
    assert.equal(relay.doubled, 0);
    assertAllSent(road, [road.spool], [drain]);
  },
);

test(
  'drain may be stopped while a message is in progress: it is sent once (law 7, law 13)',
  { ...needs('faketime'), timeout: timeLimit(120_000) },
  async (t) => {
    const { road, relay } = await start(t, { dot: 300 });
    handIn(road.spool, [{}]);
    const first = road.drain([], env);
    await first.says(/is still being sent|is still sending it/);
    assert.equal((await first.stop()).code, 0);
    const [left] = lookInto(road.spool).messages;
    assert.deepEqual(
      [left?.state, left?.attempts],
      ['queued', 0],
      'it asks no longer, and charges nothing',
    );
    const second = road.drain([], env);
    await second.says(/> sent \(2\.0\.0/);
    await second.stop();
    assert.equal(relay.doubled, 0);
    assertAllSent(road, [road.spool], [first, second]);
  },
);

test(
  'a proxy that was suspended reads the answers that came meanwhile: nothing is doubled or unknown (law 13)',
  { ...needs('faketime'), timeout: timeLimit(120_000) },
  async (t) => {
    const { road, relay, proxy } = await start(t, { dot: 2 });
    const messages = 200;
    handIn(
      road.spool,
      Array.from({ length: messages }, (_, number) => ({ bytes: `Subject: ${number}\n\nx\n` })),
    );
    const drain = road.drain([], env);
    for (const arrived of [20, 60]) {
      await relay.arrived(arrived);
      proxy.child.kill('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 75_000 / SPEED));
      proxy.child.kill('SIGCONT');
    }
    await drain.says(/> (?:sent|was sent before) \(2\.0\.0/, messages);
    await drain.stop();
    assert.deepEqual([relay.copies.size, relay.doubled], [messages, 0]);
    assert.deepEqual(rowsOf(join(road.folder, 'ledger.db'), 'unknown'), []);
  },
);

const HANGS = 'hangs@example.org';
