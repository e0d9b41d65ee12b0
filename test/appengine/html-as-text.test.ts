import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { htmlAsText } from '../../src/proxy/backends/appengine/html-as-text.ts';

/** Costs html-to-text tens of seconds: each quotation marks all lines of those in it. */
const quotations = '<blockquote>'.repeat(250) + '<p>a</p>'.repeat(32_000);

test('HTML becomes a text', async () => {
  assert.equal(await htmlAsText('<h1>Café</h1><ul><li>a<li>b</ul>'), 'CAFÉ\n\n * a\n * b');
});

test('while HTML is made a text, the program does other work (law 5)', async () => {
  const text = htmlAsText(quotations);
  let turns = 0;
  const waiting = setInterval(() => (turns += 1), 1);
  await text;
  clearInterval(waiting);
  assert.ok(turns > 50, `${turns} turns of the event loop`);
});

test('HTML of many messages at once becomes a text for each', async () => {
  const page = '<p>Hello</p>'.repeat(400);
  const texts = await Promise.all(Array.from({ length: 64 }, async () => htmlAsText(page)));
  assert.ok(texts.every((text) => text.startsWith('Hello\n\nHello')));
});

test('HTML that html-to-text has a fault with has no text', async () => {
  const list = `<ol type="i" start="99999999">${'<li>a'.repeat(5000)}</ol>`;
  assert.equal(await htmlAsText(list), '');
});

test('HTML that takes too long has no text', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const text = htmlAsText(quotations);
  await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(limits.htmlTextMs);
  assert.equal(await text, '');
});
