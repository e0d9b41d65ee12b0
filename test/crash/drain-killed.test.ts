import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test(
  'law 7: what was being sent when a drain was killed is due again for the next one',
  { timeout: 120_000 },
  async (t) => {
    const road = new Road(t);
    const messages = Array.from({ length: 8 }, (_, number) => ({
      sender: 'sender@example.com',
      recipients: [`recipient-${number}@example.org`],
      bytes: Buffer.from(`Subject: ${number}\n\nx\n`),
    }));
    const ids = handIn(road.spool, messages);

    // Three messages pass, so that four may be posted at once; those four are never answered.
    const silent = await ScriptedProxy.start(t, road.key, (post) => {
      if (ids.indexOf(post.id) < 3) post.accept();
    });
    const first = road.drain([], { GMAIL_PROXY_URL: silent.url });
    await silent.received(7);
    const { signal } = await first.stop('SIGKILL');
    assert.equal(signal, 'SIGKILL');
    const states = () => readSpool(road.spool).map(({ state }) => state);
    assert.deepEqual(states(), [
      ...Array<string>(3).fill('sent'),
      ...Array<string>(4).fill('sending'),
      'queued',
    ]);
    const stats = await road.stats();
    assert.deepEqual([stats['sent'], stats['sending'], stats['queued']], [3, 4, 1]);

    const willing = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const next = road.drain(['--once'], { GMAIL_PROXY_URL: willing.url });
    const { code, stderr } = await next.ended;
    assert.equal(code, 0);
    assert.match(stderr, /started; 5 messages queued; 4 being sent when drain last died/);
    assert.deepEqual(willing.posts.map(({ id }) => id).toSorted(), ids.slice(3).toSorted());
    for (const post of willing.posts) {
      const message = messages[ids.indexOf(post.id)];
      const { sender, recipients, bytes } = post;
      assert.deepEqual({ sender, recipients, bytes }, message);
    }
    assert.deepEqual(states(), Array<string>(8).fill('sent'));
    assert.equal((await road.stats())['sent'], 8);
  },
);
