import assert from 'node:assert/strict';
import test from 'node:test';
import { clock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test(
  'a proxy that asks for fewer posts is not down, unless nothing passes for an hour; no message is charged (law 5, law 13)',
  { ...needs('faketime'), timeout: 120_000 },
  async (t) => {
    const road = new Road(t);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => {
      if (post.recipients.length === 0) post.accept();
      else post.slower(1);
    });
    handIn(road.spool, [{}, {}]);
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...clock('+0 x300') });
    await drain.says(/the proxy asks for fewer posts: no room; at most 2 posts at once for now/);
    await proxy.received(20, ({ recipients }) => recipients.length > 0);
    assert.doesNotMatch(drain.stderr, /is down/);
    await drain.says(/ is down: the proxy asks for fewer posts/);
    proxy.script = (post) => post.accept();
    await drain.says(/> sent \(2/, 2);
    await drain.stop();
    for (const { attempts } of lookInto(road.spool).messages) assert.equal(attempts, 1);
  },
);
