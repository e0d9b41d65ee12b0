import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { proxyPage } from '../../src/proxy/proxy-page.ts';
import { recordDown } from '../../src/spool/endpoint.ts';
import { addFigures } from '../../src/spool/figures.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { takeSample } from '../../src/spool/samples.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { rings } from '../../src/sqlite/samples.ts';
import { FigureBook } from '../../src/watch/figure-book.ts';
import { Flow } from '../../src/watch/flow.ts';
import { markup } from '../../src/watch/html.ts';
import { queuePage } from '../../src/watch/queue-page.ts';
import { BrowserPage } from '../support/chromium.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handIn } from '../support/hand-in.ts';
import { handOver } from '../support/hand-over.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

const HOSTILE = `"><script>alert(1)</script><img src=http://evil.example/ onerror='x'>\u202e\u0000`;

const point = (slot: number, value: number) => ({
  slot,
  at: slot * 60_000,
  figures: [{ name: 'n', label: '', value }],
});

test('what flows in each slot is the difference of samples; where there is none, nothing changed', () => {
  const current = new FigureBook([{ name: 'n', label: '', value: 9 }]);
  const flow = new Flow(
    [point(95, 3), point(97, 5)],
    { stepMs: 60_000, slots: 5 },
    100 * 60_000,
    current,
  );
  assert.deepEqual(flow.series('n'), [0, 2, 0, 0, 4]);
  assert.equal(flow.total('n'), 6);
  assert.deepEqual(new Flow([], rings.hour, 0, current).series('n').filter(Boolean), []);
});

const times = (counts: Record<string, number>) =>
  Object.entries(counts).map(([label, value]) => ({ name: 't', label, value }));

test('a share of times is below the bound that it reaches', () => {
  const current = new FigureBook(times({ '1': 10, '5': 9, '+Inf': 1 }));
  const flow = new Flow(
    [{ slot: 0, at: 0, figures: times({ '1': 0 }) }],
    rings.hour,
    60_000 * 9,
    current,
  );
  assert.equal(flow.quantile('t', 0.5), 1);
  assert.equal(flow.quantile('t', 0.95), 5);
  assert.equal(flow.quantile('t', 1), Infinity);
  assert.equal(flow.quantile('other', 0.5), undefined);
});

test('every text that is put into HTML is escaped, also within an attribute', () => {
  const { text } = markup`<p title="${HOSTILE}">${HOSTILE}</p>`;
  assert.deepEqual(text.match(/<\/?\w+/g), ['<p', '</p']);
  assert.ok(!text.includes('\u202e') && !text.includes('\u0000'));
  assert.equal(text.match(/"/g)?.length, 2);
});

/** A spool with a day behind it, and hostile texts wherever a text can be. */
function lived(spool: Spool): void {
  const now = spool.now();
  for (let slot = 95; slot >= 0; slot -= 1) {
    for (let number = 0; number < (slot * 7) % 11; number += 1) {
      const eximId = `page-${slot}-${number}`;
      enqueue(
        spool,
        handOver({
          eximId,
          sender: HOSTILE,
          recipients: [`${HOSTILE}@x.example`],
          message: `Subject: ${HOSTILE}\n\n${eximId}`,
        }),
        now,
      );
    }
    addFigures(spool, [
      { name: 'recipients', label: 'deferred', value: slot % 5 },
      { name: 'deferrals', label: '4.2.2', value: slot % 5 },
      { name: 'delivered', label: '5', value: 3 },
    ]);
    takeSample(spool, now - slot * 900_000, []);
  }
  spool.transaction(() => recordDown(spool, HOSTILE, now, now));
}

test('the page of a queue has nothing of mail in it, loads nothing, and lets only its own script run', (t) => {
  const spool = freshSpool(t);
  lived(spool);
  const { text, policy } = queuePage(spool);
  assert.match(
    policy,
    /^default-src 'none'; style-src 'sha256-\S+'; script-src 'sha256-\S+'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
  );
  assert.doesNotMatch(
    text,
    /<script>alert|<img|<[^>]*\s(?:src|href|style|on\w+)=|url\(|@import|x\.example/,
  );
  assert.match(text, /&#60;script&#62;alert/);
  assert.equal(text.match(/<script>/g)?.length, 1);
  assert.equal(text.match(/<svg /g)?.length, 3);
});

test('the page of a proxy shows its hosts, with names that nobody can break out of', () => {
  const figures = new FigureBook([
    { name: 'seen_ms', label: HOSTILE, value: 1 },
    { name: 'queue_length', label: HOSTILE, value: 12 },
    { name: 'unknown_listed', label: '', value: 3 },
  ]);
  const backend = { kind: 'smtp', trouble: HOSTILE };
  const { text } = proxyPage(
    { figures, keys: [HOSTILE, 'web1', ''], backend },
    { hour: [], day: [], week: [] },
    { now: 0, wallNow: 7_200_000 },
  );
  assert.doesNotMatch(text, /<script>alert|<img/);
  assert.match(text, /<th scope="row">web1<\/th>\s*<td>never<\/td>/);
  assert.match(text, /keys without a name/);
  assert.match(text, /<td>2 h ago<\/td>\s*<td>12<\/td>/);
});

/** The page of a proxy with hosts and a day behind it. */
function busyProxy(): { text: string; policy: string } {
  const minute = 60_000;
  const keys = ['', 'web1', 'web2', 'db.example.net', 'a-host-with-quite-a-long-name.example.org'];
  const at = (slot: number) => [
    { name: 'requests', label: '200', value: slot * 40 + ((slot * 7) % 23) },
    { name: 'requests', label: '429', value: slot },
    { name: 'calls', label: '', value: slot * 35 + ((slot * 5) % 17) },
    { name: 'backend', label: '0.5', value: slot * 30 },
    { name: 'backend', label: '5', value: slot * 5 },
    ...keys.map((key, number) => ({ name: 'posts', label: key, value: slot * number })),
    ...keys.map((key, number) => ({
      name: 'verdicts',
      label: `sent ${key}`,
      value: slot * number,
    })),
  ];
  const sampled = (stepMs: number, slots: number) =>
    Array.from({ length: slots }, (_, slot) => {
      return { slot: 5000 + slot, at: (5000 + slot) * stepMs, figures: at(slot) };
    });
  const now = 5060 * minute;
  const present = [
    { name: 'unknown_listed', label: '', value: 2 },
    ...keys.map((key, number) => ({ name: 'seen_ms', label: key, value: number * 9e5 })),
    ...keys.map((key, number) => ({ name: 'queue_length', label: key, value: number * 37 })),
    ...keys.map((key, number) => ({ name: 'queue_oldest_ms', label: key, value: number * 8e5 })),
  ];
  const trouble = 'the relay smtp.example.org:587 cannot be used: 451 4.3.0 try again later';
  return proxyPage(
    { figures: new FigureBook([...at(60), ...present]), keys, backend: { kind: 'smtp', trouble } },
    { hour: sampled(minute, 60), day: [], week: [] },
    { now, wallNow: 3_700_000 },
  );
}

test(
  'in a browser the page renews itself, is paused by the keyboard, and has names for a screen reader',
  needs('chromium'),
  async (t) => {
    const road = new Road(t);
    await road.proxy();
    const drain = road.drain(['--metrics', '0']);
    const [, address = ''] = await drain.says(/metrics are served at http:\/\/(\S+)\/metrics/);
    const browser = await BrowserPage.open(t);
    await browser.goTo(`http://${address}/`);
    const names = await browser.accessible();
    for (const name of [
      'button: Pause',
      'image: Last hour: 0 accepted, 0 sent',
      'main: ',
      'table: Last day in numbers',
    ]) {
      assert.ok(
        names.some((each) => each.startsWith(name)),
        `${name} of ${names.join('\n')}`,
      );
    }
    handIn(road.spool, [{}]);
    await drain.says(/attempt 1: .* sent/);
    await browser.type('Tab');
    assert.equal(await browser.evaluate('document.activeElement.id'), 'pause');
    await browser.type(' ');
    assert.equal(
      await browser.evaluate(`document.getElementById('pause').getAttribute('aria-pressed')`),
      'true',
    );
    await browser.type(' ');
    const renewed = `document.querySelector('svg').getAttribute('aria-label')`;
    for (let tries = 0; tries < 50; tries += 1) {
      if (/1 accepted/.test(String(await browser.evaluate(renewed)))) break;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    assert.match(String(await browser.evaluate(renewed)), /1 accepted, 1 sent/);
    assert.deepEqual(browser.complaints, []);
  },
);

test('the pages fit into a phone, in light and in dark', needs('chromium'), async (t) => {
  const spool = freshSpool(t);
  lived(spool);
  const folder = process.env['PICTURES'] ?? scratch(t);
  const browser = await BrowserPage.open(t);
  for (const [name, { text }] of Object.entries({ queue: queuePage(spool), proxy: busyProxy() })) {
    const file = join(folder, `${name}.html`);
    writeFileSync(file, text);
    await browser.goTo(`file://${file}`);
    for (const [width, scheme] of [
      [390, 'light'],
      [390, 'dark'],
      [1100, 'light'],
      [1100, 'dark'],
    ] as const) {
      const picture = await browser.picture(width, scheme);
      writeFileSync(join(folder, `${name}-${width}-${scheme}.png`), picture);
      const isWide = await browser.evaluate('document.documentElement.scrollWidth > innerWidth');
      assert.equal(isWide, false, `${name}, ${width}`);
    }
  }
});
