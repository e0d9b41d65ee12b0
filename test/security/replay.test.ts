import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { clock } from '../support/clock.ts';
import { rowsOf } from '../support/controlled-deliverer.ts';
import { handIn } from '../support/hand-in.ts';
import { letPass } from '../support/let-pass.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { wireTo } from '../support/wire-post.ts';
import { Wiretap } from '../support/wiretap.ts';

/** Says again all that was heard, a connection for a connection; the statuses of the answers. */
async function replay(t: TestContext, road: Road, tap: Wiretap): Promise<string[]> {
  const answers = tap.connections.map(async (said) => {
    const { socket, said: heard } = wireTo(t, road.address);
    socket.write(Buffer.concat(said));
    socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    return (await heard).match(/HTTP\/1\.1 \d+/g)?.slice(0, -1) ?? [];
  });
  return (await Promise.all(answers)).flat().map((line) => line.slice(-3));
}

test(
  'a request that was heard on the way has no effect when it is said again, at any time (law 6)',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [
      {},
      { recipients: ['a@example.org', 'b@example.org'] },
      // One that is refused by its address, before any backend.
      { recipients: ['c@example.org', 'no address'] },
    ]);
    let proxy = await road.proxy();
    const tap = await Wiretap.open(t, road.address);
    tap.answersToLose = 1; // So that there is a probe and a second try among them.
    const { code } = await road.drain(['--once'], { GMAIL_PROXY_URL: tap.url }).ended;
    assert.equal(code, 0);
    assert.equal(road.deliveries().length, 3);
    const heard = Buffer.concat(tap.connections.flat()).toString('latin1');
    const requests = heard.match(/^POST \/ /gm)?.length ?? 0;
    assert.ok(requests >= 5, heard);
    const before = lookInto(road.spool).messages;

    // Gone, so that whatever is delivered again is seen, also where it has the name that it had.
    rmSync(road.delivered, { recursive: true });
    const ledger = join(road.folder, 'ledger.db');
    const rows = () => ['recipient', 'unknown'].map((table) => rowsOf(ledger, table));
    const known = rows();
    const again = async (status: string) => {
      for (let times = 0; times < 3; times += 1) {
        assert.deepEqual(await replay(t, road, tap), Array<string>(requests).fill(status));
      }
      assert.ok(!existsSync(road.delivered) || road.deliveries().length === 0, 'nothing was sent');
    };

    await again('200');
    assert.deepEqual(rows(), known);
    await proxy.stop('SIGKILL');
    proxy = await road.proxy();
    await again('200');
    assert.deepEqual(rows(), known, 'a proxy that was killed in between knows it');

    // When the ledger has forgotten it, which no clock makes it do, the signature has long been too old.
    for (const [time, days, forgotten] of [
      ['+6m', 0, false],
      ['+31d', 0, false],
      ['+29d', 29, false],
      ['+31d', 2, true],
      ['-6m', 0, true],
    ] as const) {
      await proxy.stop();
      letPass(ledger, days * 86_400_000);
      proxy = await road.proxy([], clock(time));
      await again('401');
      assert.deepEqual(rows(), forgotten ? [[], []] : known, time);
    }
    assert.deepEqual(lookInto(road.spool).messages, before);
  },
);
