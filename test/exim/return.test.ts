import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { octets } from '../support/odd-messages.ts';
import { PrivateExim } from '../support/private-exim.ts';
import type { Ended } from '../support/program.ts';
import { Road } from '../support/road.ts';

/** A road that Exim no longer leads to, and `queue return` into its queue, where mail stays. */
function start(t: TestContext, smarthost = false) {
  const road = new Road(t);
  const exim = new PrivateExim(road);
  exim.configure({ smarthost, main: 'queue_only' });
  const program = join(road.folder, 'exim4');
  writeFileSync(program, `#!/bin/sh\nexec /usr/sbin/exim4 -C '${exim.folder}/config' "$@"\n`);
  chmodSync(program, 0o755);
  const back = async (...args: string[]): Promise<Ended> =>
    road.queue('return', ...args, '--exim', program);
  return { road, exim, back };
}

/** What is in Exim's queue: the envelope, and the bytes below the headers that Exim has added. */
function queueOf(exim: PrivateExim): { sender: string; recipients: string[]; message: Buffer }[] {
  const input = join(exim.folder, 'queue', 'input');
  const ids = readdirSync(input).flatMap((name) => /^(.*)-H$/.exec(name)?.[1] ?? []);
  return ids.map((id) => {
    // Exim's -H file: id, account, <sender>, times, options, XX, number of recipients, recipients.
    const header = readFileSync(join(input, `${id}-H`), 'latin1');
    const [, sender = '', list = ''] =
      /^[^\n]*\n[^\n]*\n<([^\n]*)>\n[^]*?\nXX\n\d+\n([^]*?)\n\n/.exec(header) ?? [];
    const fields = header.slice(header.indexOf('\n\n') + 2);
    let message = '';
    for (let at = 0; at < fields.length;) {
      const [intro = '', size = '', flag] = /^(\d{3,})(.) /.exec(fields.slice(at)) ?? [];
      const text = fields.slice(at + intro.length, at + intro.length + Number(size));
      if (flag !== 'P') message += text; // P is Exim's own Received.
      at += intro.length + Number(size);
    }
    const body = readFileSync(join(input, `${id}-D`));
    return {
      sender,
      recipients: list.split('\n'),
      message: Buffer.concat([
        Buffer.from(`${message}\n`, 'latin1'),
        body.subarray(body.indexOf('\n') + 1),
      ]),
    };
  });
}

const complete =
  'From: a@a.example\nDate: Mon, 01 Jan 2024 00:00:00 +0000\nMessage-ID: <1@a.example>\n';

// msmtp 1.8.19: an address with a dash at its beginning was taken for an option.
test(
  'law 3, law 4: Exim gets back the bytes and the envelope, and then the message is gone here',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim, back } = start(t);
    const recipients = [
      'plain@a.example',
      'ünï@c.example',
      '"a>b"@example.net',
      '"we ird"@d.example',
      String.raw`"quo\"te"@e.example`,
      "o'neil/x=y@f.example",
      '-dash@g.example',
      'f\udcfc@h.example',
    ];
    const bytes = Buffer.concat([Buffer.from(complete), octets]);
    const large = Buffer.from(`${complete}\n${`${'.'.repeat(99)}\n`.repeat(25_000)}`);
    const ids = handIn(road.spool, [
      { sender: '"odd sender"@b.example', recipients, bytes },
      {
        sender: '',
        recipients: ['null@a.example'],
        bytes: `${complete}\n.\n..\n.no closing newline`,
      },
      { sender: 'l@b.example', recipients: ['large@a.example'], bytes: large },
    ]);
    const { code, stdout, stderr } = await back(...ids);
    assert.deepEqual(
      [code, stdout.toString()],
      [0, 'returned 3 messages for 10 recipients\n'],
      stderr,
    );

    const queue = queueOf(exim);
    const of = (recipient: string) => queue.find((each) => each.recipients.includes(recipient));
    assert.equal(queue.length, 3);
    const odd = of('plain@a.example');
    assert.equal(odd?.sender, '"odd sender"@b.example');
    assert.deepEqual(
      odd.recipients.toSorted(),
      recipients
        .map((each) =>
          Buffer.from(each, each.isWellFormed() ? 'utf8' : 'latin1').toString('latin1'),
        )
        .toSorted(),
    );
    assert.ok(odd.message.equals(bytes), odd.message.toString('latin1').slice(0, 300));
    assert.equal(of('null@a.example')?.sender, '');
    assert.equal(
      of('null@a.example')?.message.toString(),
      `${complete}\n.\n..\n.no closing newline\n`,
      'Exim ends the last line',
    );
    assert.ok(of('large@a.example')?.message.equals(large));
    const { messages, counters } = lookInto(road.spool);
    assert.deepEqual([counters.accepted, counters.deleted], [3, 3]);
    assert.ok(messages.every(({ recipients: [first] }) => first?.state === 'deleted'));
    assert.match(
      (await road.queue('explain', ids[0] ?? '')).stdout.toString(),
      /returned it to Exim/,
    );
  },
);

test(
  'what Exim makes of CRs: line ends, as of all mail that it takes',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim, back } = start(t);
    // A dot between line ends of another kind must not end the message, nor begin a new one.
    const body = 'a\r\n.\r\nb\r.\r\nc\n.\rd\r.\nMAIL FROM:<x@x.example>\n';
    handIn(road.spool, [{ bytes: `${complete}\n${body}` }]);
    assert.equal((await back('--all')).code, 0);
    const [message, ...more] = queueOf(exim);
    assert.equal(more.length, 0);
    assert.equal(message?.message.toString(), `${complete}\n${body.replaceAll(/\r\n?/g, '\n')}`);
  },
);

test(
  'a return is refused while Exim would hand the mail straight back, and nothing is touched',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim, back } = start(t, true);
    const [, held = ''] = handIn(road.spool, [
      { recipients: ['x@host.example', 'y@a.example'] },
      {},
    ]);
    await road.queue('hold', held);
    for (const args of [['--all'], [held]]) {
      const { code, stderr } = await back(...args);
      assert.equal(code, 78);
      assert.match(
        stderr,
        /straight back .*appengine_mailer_smarthost.*appengine-mailer exim disable/,
      );
    }
    assert.deepEqual(
      lookInto(road.spool).messages.map(({ state }) => state),
      ['queued', 'held'],
    );
    assert.equal(await exim.queued(), 0);

    exim.configure({ smarthost: false, main: 'queue_only' });
    assert.equal((await back('--all')).stdout.toString(), 'returned 2 messages for 3 recipients\n');
    assert.equal(await exim.queued(), 2);
  },
);

test(
  'only who is pending is returned, and what Exim refuses is kept and held, with the reason',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim, back } = start(t);
    const [bad = ''] = handIn(road.spool, [{ recipients: ['a,b@a.example'] }, {}]);
    const { code, stdout, stderr } = await back('--all');
    assert.deepEqual([code, stdout.toString()], [75, 'returned 1 message for 1 recipient\n']);
    assert.match(stderr, /Exim did not take 1 message; what it did not take is held here/);
    assert.deepEqual(
      lookInto(road.spool).messages.map(({ state }) => state),
      ['held', 'deleted'],
    );
    assert.equal(await exim.queued(), 1, 'all of a message or nothing');
    const { stdout: story } = await road.queue('explain', bad);
    assert.match(story.toString(), /Exim did not take it.*501 .*expected after "a"/);
    assert.equal((await road.queue('release', bad)).code, 0);
  },
);

test(
  'law 6, law 7: who has an address that Exim’s syntax refuses stays, held, with the reason, and the others go back once',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim, back } = start(t);
    const good = ['c@a.example', 'd@a.example', 'e@a.example'];
    const [first = '', second = '', third = ''] = good;
    const bad = ['a,b@a.example', 'two\nlines@a.example', 'f@', `${'x'.repeat(20_000)}@a.example`];
    const recipients = [bad[0], first, bad[1], second, bad[2], third, bad[3]].map(String);
    const [id = ''] = handIn(road.spool, [{ recipients, bytes: `${complete}\nx\n` }]);
    for (const stillThere of [good, []]) {
      const { code, stderr } = await back(id);
      assert.equal(code, 75, stderr);
      const what = stillThere.length > 0 ? 'refused recipients of 1' : 'did not take 1';
      assert.match(stderr, new RegExp(`Exim ${what} message; what it did not take is held here`));
      assert.deepEqual(
        queueOf(exim).map((each) => each.recipients),
        [good],
      );
      const [message] = lookInto(road.spool).messages;
      assert.equal(message?.state, 'held');
      for (const { address, state } of message.recipients) {
        assert.equal(state, good.includes(address) ? 'deleted' : 'pending', address);
      }
      const { stdout: story } = await road.queue('explain', id);
      assert.match(
        story.toString(),
        /did not take it.*<two\\x0alines@a\.example>: an address contains a line end/,
      );
      assert.match(story.toString(), /<a,b@a\.example>: 501 .*expected after "a"/);
      assert.match(story.toString(), /<f@>: 501 domain missing or malformed/);
    }
    assert.equal((await road.queue('delete', id)).code, 0);
    assert.match((await road.queue('explain', id)).stdout.toString(), /an operator deleted it/);
    assert.equal(await exim.queued(), 1);
  },
);

// Exim takes what ends the first line for what ends all.
test(
  'law 3: a message whose first line ends in CR LF goes back to Exim, which has it as if all its lines ended in LF',
  needs('exim4', 'root'),
  async (t) => {
    const { road, exim, back } = start(t);
    const headers = complete.replaceAll('\n', '\r\n');
    const messages = [
      `${headers}\r\none\r\n.\r\ntwo\r\n`,
      `${headers}\r\none\ntwo\n.\nthree\r\n.\rfour\n`,
      `${headers}\nLF alone ends the headers\r\n\r\n`,
      `${headers}\r\nno closing newline\r`,
    ];
    const mails = messages.map((bytes, nth) => ({ bytes, recipients: [`r${nth}@a.example`] }));
    handIn(road.spool, mails);
    const { code, stdout } = await back('--all');
    assert.deepEqual(
      [code, stdout.toString()],
      [0, `returned ${messages.length} messages for ${messages.length} recipients\n`],
    );
    for (const [nth, bytes] of messages.entries()) {
      const message = queueOf(exim).find((each) => each.recipients.includes(`r${nth}@a.example`));
      const lines = bytes.replaceAll(/\r\n?/g, '\n').replace(/\n?$/, '\n');
      assert.equal(message?.message.toString(), lines, `message ${nth}`);
    }
  },
);
