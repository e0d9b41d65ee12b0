import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { readVariables } from '../../src/host/read-variables.ts';
import { inNamespace } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

const NAME = 'appengine-mailer-proxy';

for (const line of [
  'APPENGINE_MAILER_LISTEN=127.0.0.1:1',
  '  APPENGINE_MAILER_LISTEN = 127.0.0.1:1 # here',
  'export APPENGINE_MAILER_LISTEN="127.0.0.1:1"',
]) {
  test(
    `an answer of debconf takes the place of ${JSON.stringify(line)}, and no name is there twice`,
    needs('debconf', 'root'),
    async (t) => {
      const folder = scratch(t);
      const file = (each: string) => join(folder, each);
      for (const part of ['config', 'postinst', 'templates']) {
        const text = readFileSync(inCheckout(`debian/${NAME}.${part}`), 'utf8');
        writeFileSync(file(`${NAME}.${part}`), text.replace(/^_/gm, ''));
        chmodSync(file(`${NAME}.${part}`), 0o755);
      }
      const database = (each: string) => `Name: ${each}\nDriver: File\nFilename: ${file(each)}\n\n`;
      writeFileSync(
        file('debconf.conf'),
        `Config: answers\nTemplates: questions\n\n${database('answers')}${database('questions')}`,
      );
      // The machine's own /etc stays as it is.
      const etc = file('etc');
      cpSync('/etc', etc, { recursive: true, verbatimSymlinks: true, filter: isPlain });
      mkdirSync(join(etc, 'default'), { recursive: true });
      const defaults = join(etc, 'default', NAME);
      writeFileSync(defaults, `# mine\n${line}\nAPPENGINE_MAILER_RATE=60/min\n`);
      const inside = await inNamespace(t, 'mount --bind "$1" "$2"', etc, '/etc');

      const env = {
        DEBCONF_SYSTEMRC: file('debconf.conf'),
        DEBIAN_FRONTEND: 'editor',
        DEBIAN_PRIORITY: 'low',
        EDITOR: file('types'),
        VISUAL: file('types'),
        PATH: '/usr/sbin:/usr/bin:/bin',
      };
      writeFileSync(
        file('types'),
        `#!/bin/sh\nsed -i 's|/listen=.*|/listen="127.0.0.1:2"|' "$1"\n`,
      );
      chmodSync(file('types'), 0o755);
      const command = `/usr/share/debconf/frontend ${file(`${NAME}.postinst`)} configure ''`;
      const words = inside('script', '-qec', command, '/dev/null');
      const { code, stdout } = await run(t, ...words, { env });
      assert.equal(code, 0, stdout.toString());

      const text = readFileSync(defaults, 'utf8');
      assert.deepEqual(
        [...readVariables(text, defaults)],
        [
          ['APPENGINE_MAILER_LISTEN', '127.0.0.1:2'],
          ['APPENGINE_MAILER_RATE', '60/min'],
        ],
        text,
      );
    },
  );
}

/** Sockets and other things that cannot be copied are not needed. */
function isPlain(path: string): boolean {
  return !/\/(?:ssl|ca-certificates|exim4)(?:\/|$)/.test(path);
}
