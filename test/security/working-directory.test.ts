import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { prepare } from '../../debian/make/prepare.ts';
import { version } from '../../src/host/version.ts';
import { handIn } from '../support/hand-in.ts';
import { inCheckout, start } from '../support/program.ts';
import { Road } from '../support/road.ts';

// A working directory may be anybody's: what lies there must not hold up or change what root runs.

/** The programs as they are built, and bundled for the packages, which are outside of any node_modules. */
const programs = {
  built: (program: string) => inCheckout(`dist/bin/${program}.js`),
  bundled: (program: string, lib: string) => join(lib, `${program}.mjs`),
};

for (const [which, path] of Object.entries(programs)) {
  test(`package.json of the working directory or above it is not read, be it a FIFO: ${which}`, async (t) => {
    const road = new Road(t);
    const lib = join(road.folder, 'prepared', 'lib');
    if (which === 'bundled') prepare(join(road.folder, 'prepared'));
    const [id = ''] = handIn(road.spool, [{}]);
    const env = { APPENGINE_MAILER_SPOOL: road.spool };
    const [odd, inner, lying] = ['odd', 'odd/inner', 'lying'].map((name) => {
      const folder = join(road.folder, name);
      mkdirSync(folder);
      return folder;
    }) as [string, string, string];
    assert.equal(spawnSync('mkfifo', [join(odd, 'package.json')]).status, 0);
    const yargs = { version: false, 'boolean-negation': false, 'parse-numbers': false };
    writeFileSync(
      join(lying, 'package.json'),
      JSON.stringify({ version: '6.6.6', yargs, 'appengine-mailer': { json: true } }),
    );
    for (const cwd of [odd, inner, lying]) {
      const says = async (program: string, args: string[]) => {
        const words = [path(program, lib), ...args];
        const { ended } = start(t, process.execPath, words, { cwd, env, input: '' });
        const { code, stdout, stderr } = await ended;
        assert.equal(code, 0, stderr);
        return stdout.toString();
      };
      assert.equal(await says('appengine-mailer', ['--version']), `${version()}\n`);
      assert.equal(await says('gmail', ['--version']), `${version()}\n`);
      assert.match(await says('appengine-mailer', ['queue']), new RegExp(`^${id}  queued`));
    }
  });
}
