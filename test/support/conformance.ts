import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import { BackendUnavailableError, type Backend } from '../../src/proxy/backends/backend.ts';
import { ControlledDeliverer, rowsOf } from './controlled-deliverer.ts';
import { inCheckout } from './program.ts';
import { Road } from './road.ts';
import { signedPost } from './signed-post.ts';

/** What the world behind a backend can do to it, see the functions of its rig. */
export type Ability =
  'refuse' | 'defer' | 'loseAnswers' | 'answerLate' | 'hang' | 'vanish' | 'refuseKey' | 'keepBytes';

/** A backend, with the world behind it. */
export interface Rig {
  backend: Backend;
  /** The options of a proxy with this backend before this world. */
  options: string[];
  /** What such a proxy has in its environment besides. */
  environment?: Record<string, string>;
  /** Recipients of what arrived, one element a message. */
  arrived?: () => string[][];
  /** What arrived, one element a message; and the largest message that is taken. */
  bytes?: { arrived: () => Buffer[]; largest: number };
  /** From now on these recipients are refused; `for now` needs the ability to defer. */
  refuse?: (recipients: Record<string, 'for good' | 'for now'>) => void;
  /** From now on messages are taken and the answer is lost. */
  loseAnswers?: () => void;
  /** From now on messages are taken, and answered when `answer` is called; `taken` resolves when one was. */
  answerLate?: () => { taken: Promise<unknown>; answer: () => void };
  /** From now on our key is refused. */
  refuseKey?: () => void;
  /** From now on messages are taken and never answered; resolves when one was. */
  hang?: () => Promise<void>;
  /** From now on nothing can be sent. */
  vanish?: () => void;
}

/**
 * Tests of what every backend must do, before the real relay and its ledger; those that need an ability
 * only where the backend's world has it. `road` is where a whole proxy will run.
 */
export function conformance(
  name: string,
  abilities: readonly Ability[],
  setUp: (t: TestContext, road: Road) => Promise<Rig>,
): void {
  const testWith = (ability: Ability, title: string, body: (t: TestContext) => Promise<void>) => {
    if (abilities.includes(ability)) test(`${name}: ${title}`, body);
  };
  const [a, b, c] = ['a@example.org', 'b@example.org', 'c@example.org'] as const;

  async function start(t: TestContext) {
    const rig = await setUp(t, new Road(t));
    const relay = new ControlledDeliverer(t);
    relay.backend = rig.backend;
    const unknown = () => relay.rows('unknown').map(({ address }) => address);
    const sent = () => relay.rows('recipient').map(({ address }) => address);
    return { rig, relay, unknown, sent };
  }

  test(`${name}: one delivery to all recipients, and once (law 6)`, async (t) => {
    const { rig, relay, sent } = await start(t);
    for (const verdict of await relay.post('id', [a, b, c])) assert.match(verdict, /^2\.\d\.\d /);
    assert.deepEqual(sent(), [a, b, c]);
    if (rig.arrived) assert.deepEqual(rig.arrived(), [[a, b, c]]);
    await relay.post('id', [c, b, a]);
    if (rig.arrived) assert.deepEqual(rig.arrived(), [[a, b, c]], 'a repeat');
  });

  test(`${name}: a proxy killed between its yes and the ledger lists, and sends again (law 6, law 7)`, async (t) => {
    const road = new Road(t);
    const { options, environment, arrived } = await setUp(t, road);
    const ledger = join(road.folder, 'ledger.db');
    const killer = join(road.folder, 'killer.mjs');
    writeFileSync(killer, KILLER);
    const first = await road.proxy(options, {
      ...environment,
      NODE_OPTIONS: `--import ${killer}`,
    });
    const post = { key: road.key, id: 'an-id', recipients: [a] };
    await assert.rejects(signedPost(road.address, post));
    assert.equal((await first.ended).signal, 'SIGKILL');
    if (arrived) assert.deepEqual(arrived(), [[a]], 'it was sent');

    await road.proxy(options, environment);
    assert.deepEqual(
      rowsOf(ledger, 'unknown').map(({ message, address }) => [message, address]),
      [['an-id', a]],
    );
    assert.equal((await signedPost(road.address, post)).status, 200);
    assert.deepEqual(
      rowsOf(ledger, 'recipient').map(({ address, state }) => [address, state]),
      [[a, 'sent']],
    );
    assert.equal(rowsOf(ledger, 'unknown').length, 1, 'still counted');
  });

  testWith('refuse', 'what can be refused is refused each for itself (law 5, law 6)', async (t) => {
    const { rig, relay, sent, unknown } = await start(t);
    const canDefer = abilities.includes('defer');
    const third = canDefer ? [c] : [];
    rig.refuse?.({ [a]: 'for good', ...(canDefer && { [c]: 'for now' }) });
    const [first = '', second = '', last = ''] = await relay.post('mixed', [a, b, ...third]);
    assert.match(first, /^5\.\d\.\d .*\ba@example\.org/);
    assert.match(second, /^2\.\d\.\d /);
    if (canDefer) assert.match(last, /^4\.\d\.\d .*\bc@example\.org/);
    assert.deepEqual([sent(), unknown()], [[b], []]);
    const none = await relay.post('none', [a, ...third]);
    assert.deepEqual(
      none.map((verdict) => verdict.charAt(0)),
      ['5', ...third.map(() => '4')],
    );
    rig.refuse?.({});
    assert.match((await relay.post('mixed', [a, b, ...third])).join(' '), /^2.* 2/);
    if (rig.arrived) assert.deepEqual(rig.arrived(), [[b], [a, ...third]]);
  });

  testWith(
    'loseAnswers',
    'an answer that is lost leaves it unknown, and it is sent again (law 6)',
    async (t) => {
      const { rig, relay, sent, unknown } = await start(t);
      rig.loseAnswers?.();
      for (const verdict of await relay.post('id', [a, b])) assert.match(verdict, /^4\.4\.2 /);
      assert.deepEqual([sent(), unknown()], [[], [a, b]]);
      await relay.post('id', [a, b]);
      assert.deepEqual([sent(), unknown()], [[], [a, b, a, b]], 'counted again');
    },
  );

  testWith(
    'answerLate',
    'an answer that comes late is in progress until then, and one message is sent (law 6, law 13)',
    async (t) => {
      const { rig, relay, sent, unknown } = await start(t);
      t.mock.timers.enable({ apis: ['setTimeout'] });
      const late = rig.answerLate?.();
      const posted = relay.post('id', [a]);
      await late?.taken;
      t.mock.timers.tick(limits.answerMs);
      assert.deepEqual(await posted, ['4.4.0 it is still being sent']);
      const asked = relay.ask('id', [a]);
      late?.answer();
      assert.match((await asked).join(), /^2\.0\.0 /);
      assert.deepEqual([sent(), unknown()], [[a], []]);
      if (rig.arrived) assert.deepEqual(rig.arrived(), [[a]]);
    },
  );

  testWith('refuseKey', 'a key that is refused charges no message (law 5, law 10)', async (t) => {
    const { rig, relay, sent, unknown } = await start(t);
    rig.refuseKey?.();
    await assert.rejects(relay.post('id', [a]), BackendUnavailableError);
    assert.deepEqual([sent(), unknown()], [[], []]);
    assert.match(relay.journal.join('\n'), /^attention: no mail is taken: /m);
    assert.doesNotMatch(relay.journal.join('\n'), /EXAMPLE/, 'the key');
  });

  testWith(
    'keepBytes',
    'the bytes of a message arrive as they are, but with CRLF as line ends (law 3)',
    async (t) => {
      const { rig, relay } = await start(t);
      const odd = Buffer.from('Subject: \xe9\0\n.\n..\r\r\n\xff\xfe\n--\r\n\n"}', 'latin1');
      const large = messageOf(rig.bytes?.largest ?? 0);
      assert.match((await relay.post('odd', [a], odd)).join(), /^2/);
      assert.match((await relay.post('large', [a], large)).join(), /^2/);
      const [first, second] = rig.bytes?.arrived() ?? [];
      assert.deepEqual(first, withCrlf(odd));
      assert.ok(second?.equals(withCrlf(large)));
      const over = Buffer.concat([Buffer.from('a'), large]);
      assert.match((await relay.post('over', [a], over)).join(), /^5\.3\.4 /);
    },
  );

  testWith(
    'hang',
    'a backend that hangs is in progress, and unknown only after its own time (law 6, law 13)',
    async (t) => {
      const { rig, relay, unknown } = await start(t);
      t.mock.timers.enable({ apis: ['setTimeout'] });
      const hangs = rig.hang?.();
      const posted = relay.post('id', [a]);
      await hangs;
      t.mock.timers.tick(limits.answerMs);
      assert.deepEqual(await posted, ['4.4.0 it is still being sent']);
      assert.deepEqual(unknown(), []);
      const asked = relay.ask('id', [a]);
      t.mock.timers.tick(limits.answerMs);
      assert.deepEqual(await asked, ['4.4.0 it is still being sent']);
      t.mock.timers.tick(limits.deliveryMs);
      const [verdict = ''] = await relay.ask('id', [a]);
      assert.match(verdict, /^4\.4\.2 /);
      assert.deepEqual(unknown(), [a]);
    },
  );

  testWith(
    'vanish',
    'when nothing can be sent, no message is charged with it (law 5)',
    async (t) => {
      const { rig, relay, sent, unknown } = await start(t);
      rig.vanish?.();
      await assert.rejects(relay.post('id', [a]), BackendUnavailableError);
      assert.deepEqual([sent(), unknown()], [[], []]);
      assert.match(relay.journal.join('\n'), /^attention: no mail is taken: /m);
    },
  );
}

/** A message without any CR that has `size` bytes when its lines end in CRLF. */
function messageOf(size: number): Buffer {
  const line = 'a line of some characters, \xff\0\n';
  const lines = Math.floor(size / (line.length + 1));
  const first = 'a'.repeat(size - lines * (line.length + 1));
  return Buffer.from(first + line.repeat(lines), 'latin1');
}

function withCrlf(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1').replace(/\r\n|\r|\n/g, '\r\n');
  return Buffer.from(text.endsWith('\n') ? text : `${text}\r\n`, 'latin1');
}

/** Kills the proxy when it is about to write down that something was sent. */
const KILLER = `
import { sqlitePrototypes } from '${inCheckout('test/support/sqlite-prototypes.mjs')}';
for (const prototype of sqlitePrototypes) {
  const { prepare } = prototype;
  prototype.prepare = function (sql) {
    const statement = prepare.call(this, sql);
    if (/^\\s*UPDATE recipient SET state = 'sent'/.test(sql)) {
      statement.run = () => process.kill(process.pid, 'SIGKILL');
    }
    return statement;
  };
}
`;
