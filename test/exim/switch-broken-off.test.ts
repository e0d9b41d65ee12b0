import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DebianExim } from '../support/debian-exim.ts';
import { LONG } from '../support/figures.ts';
import { faultLibrary } from '../support/fault-library.ts';
import { needs } from '../support/needs.ts';
import { scratch } from '../support/scratch.ts';

type Verb = 'enable' | 'disable';
const UPDATE = '/usr/sbin/update-exim4.conf';

test(
  'enable puts everything back when Exim does not take it in the end: 75',
  needs('root', 'exim4'),
  async (t) => {
    for (const split of [true, false]) {
      const exim = await DebianExim.make(t, { split });
      const before = await exim.configuration();
      const restore = insteadOfUpdate(
        exim,
        'rm /broken 2>/dev/null && { echo disk is full >&2; exit 1; }',
      );
      exim.write('/broken', '');
      const { code, said } = await exim.appengineMailer(['exim', 'enable']);
      assert.match(
        said,
        /update-exim4\.conf ends with 1: disk is full; everything is as it was\n$/,
      );
      assert.equal(code, 75);
      restore();
      assert.equal(await exim.configuration(), before);
    }
  },
);

test('enable puts back the files of an older version too', needs('root', 'exim4'), async (t) => {
  const exim = await DebianExim.make(t);
  await exim.switch('enable');
  exim.append('/etc/exim4/conf.d/retry/20_appengine-mailer', '* * F,1h,5m\n');
  await exim.succeeds('update-exim4.conf');
  const before = await exim.configuration();
  insteadOfUpdate(exim, 'rm /broken 2>/dev/null && exit 1');
  exim.write('/broken', '');
  assert.equal((await exim.appengineMailer(['exim', 'enable'])).code, 75);
  assert.equal(await exim.configuration(), before);
});

test(
  'killed before any of its changes, or while Exim takes them: the configuration is valid, and enable and disable go on from there',
  needs('root', 'exim4', 'cc'),
  async (t) => {
    const library = await faultLibrary(t, scratch(t));
    const exim = await DebianExim.make(t);
    const before = await exim.configuration();
    await exim.switch('enable');
    const enabled = await exim.configuration();
    const files = (await exim.succeeds('find', '/etc/exim4', '-name', '*appengine-mailer')).trim();
    const changes = [
      ...files.split('\n'),
      '/etc/exim4/update-exim4.conf.conf',
      '/var/lib/appengine-mailer/exim-was-unsplit',
    ];
    assert.equal(changes.length, 7);

    let state: Verb = 'enable';
    const changed = { enable: enabled, disable: before };
    for (const [verb, other] of [
      ['disable', 'enable'],
      ['enable', 'disable'],
    ] as const) {
      for (const [position, change] of changes.entries()) {
        // In the short form each change is struck by one of the two verbs.
        if (!LONG && (position % 2 === 0) === (verb === 'enable')) continue;
        if (state !== other) await exim.switch(other);
        const env = { LD_PRELOAD: library, FAULT: 'KILL', FAULT_FOLDER: change, FAULT_STEP: '1' };
        const { code } = await exim.appengineMailer(['exim', verb], env);
        assert.equal(code, null, `${verb} is killed at ${change}`);
        await exim.succeeds('update-exim4.conf');
        await isSound(exim);
        const next: Verb = position % 4 < 2 ? verb : other;
        await exim.switch(next);
        state = next;
        assert.equal(await exim.configuration(), changed[next], `${verb}, ${change}, ${next}`);
      }
      for (const when of ['kill -9 $PPID', "trap 'kill -9 $PPID' EXIT"]) {
        if (state !== other) await exim.switch(other);
        const restore = insteadOfUpdate(exim, when);
        assert.equal((await exim.appengineMailer(['exim', verb])).code, null);
        restore();
        await exim.switch(verb);
        state = verb;
        assert.equal(await exim.configuration(), changed[verb]);
      }
    }
  },
);

/** Exim finds some of what a configuration refers to only when it has mail: transports and lists. */
async function isSound(exim: DebianExim): Promise<void> {
  const route = await exim.run('exim4', '-bt', 'you@remote.example');
  assert.match(route.stdout.toString(), /transport = appengine_mailer_pipe|in smarthost router/);
  const rule = await exim.run('exim4', '-brt', 'you@remote.example');
  assert.match(rule.stdout.toString(), /^Retry rule: /);
  assert.equal(rule.stderr, '');
}

/**
 * Has a line of sh run first when Exim's real configuration is updated, not when one is tried; returns
 * what undoes this.
 */
function insteadOfUpdate(exim: DebianExim, line: string): () => void {
  const real = exim.read(UPDATE) ?? '';
  exim.write(UPDATE, `#!/bin/sh\nif [ $# -eq 0 ]; then ${line}; fi\n${real}`);
  return () => exim.write(UPDATE, real);
}
