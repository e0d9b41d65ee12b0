import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { addonOf } from '../../debian/make/compile-addon.ts';
import { LONG, timeLimit } from '../support/figures.ts';
import { inCheckout, run } from '../support/program.ts';
import { registryProxy } from '../support/registry-proxy.ts';
import { scratch } from '../support/scratch.ts';

interface Locked {
  integrity?: string;
  resolved?: string;
  hasInstallScript?: boolean;
}

const lock = JSON.parse(readFileSync(inCheckout('package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>;
};
const locked = Object.entries(lock.packages).filter(([path]) => path !== '');

test('every package of the lock file has a SHA-512, and none an address of its own', () => {
  const wrong = locked.filter(
    ([, { integrity, resolved }]) =>
      !/^sha512-[\w+/]{86}==$/.test(integrity ?? '') || resolved !== undefined,
  );
  assert.deepEqual(
    wrong.map(([path]) => path),
    [],
  );
});

test('install scripts of packages do not run, and those that there are are known', () => {
  assert.match(readFileSync(inCheckout('.npmrc'), 'utf8'), /^ignore-scripts=true$/m);
  const scripts = locked.filter(([, { hasInstallScript }]) => hasInstallScript);
  assert.deepEqual(
    scripts.map(([path]) => path),
    ['node_modules/better-sqlite3-node20', 'node_modules/esbuild'],
  );
});

// The long form begins with an empty cache.
test(
  'npm ci asks nobody but the registry, and runs nothing of what it installs',
  { timeout: timeLimit(300_000) },
  async (t) => {
    const { registry, asked, environment } = await registryProxy(t);
    const folder = scratch(t);
    for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
      cpSync(inCheckout(file), join(folder, file));
    }
    const cache = LONG ? ['--cache', join(folder, 'cache')] : ['--prefer-offline'];
    const { code, stderr } = await run(t, 'npm', ['ci', ...cache], {
      cwd: folder,
      env: environment,
    });
    assert.equal(code, 0, stderr);
    asked.delete(registry);
    assert.deepEqual([...asked], []);
    const modules = join(folder, 'node_modules');
    for (const name of ['better-sqlite3', 'better-sqlite3-node20']) {
      assert.ok(existsSync(join(modules, name, 'binding.gyp')));
      assert.ok(!existsSync(join(modules, name, 'build')));
    }
  },
);

if (process.version.startsWith('v20.')) {
  // SQLite takes minutes to compile: only the long form does it.
  test(
    'better-sqlite3 is compiled without asking anybody, and to the same bytes in every folder',
    { timeout: timeLimit(120_000) },
    async (t) => {
      const { asked, environment } = await registryProxy(t);
      const folder = join(scratch(t), 'elsewhere/node_modules');
      mkdirSync(folder, { recursive: true });
      for (const name of ['better-sqlite3-node20', 'bindings', 'file-uri-to-path']) {
        cpSync(inCheckout(`node_modules/${name}`), join(folder, name), { recursive: true });
      }
      if (LONG) rmSync(join(folder, 'better-sqlite3-node20/build'), { recursive: true });
      const { code, stdout, stderr } = await compile(t, folder, {
        ...environment,
        TZ: 'Pacific/Kiritimati',
      });
      assert.equal(code, 0, stderr);
      const told = stdout.toString().match(/^\S+(?= is compiled$)/gm);
      assert.deepEqual(told, LONG ? ['better-sqlite3-node20'] : null);
      assert.deepEqual([...asked], []);
      const here = readFileSync(addonOf(inCheckout('node_modules')));
      assert.ok(here.equals(readFileSync(addonOf(folder))));
    },
  );

  test('without headers of this Node.js nothing is fetched: a message names what to install', async (t) => {
    const { asked, environment } = await registryProxy(t);
    const folder = scratch(t);
    const npm_config_nodedir = join(folder, 'node');
    const env = { ...environment, npm_config_nodedir };
    const wanted = new RegExp(
      `${npm_config_nodedir}/include/node/node_version.h is not there, or not of Node.js ${process.version}: install the headers`,
    );
    assert.match((await compile(t, folder, env)).stderr, wanted);
    mkdirSync(join(npm_config_nodedir, 'include/node'), { recursive: true });
    const header = '#define NODE_MODULE_VERSION 1\n';
    writeFileSync(join(npm_config_nodedir, 'include/node/node_version.h'), header);
    const { code, stderr } = await compile(t, folder, env);
    assert.equal(code, 1);
    assert.match(stderr, wanted);
    assert.deepEqual([...asked], []);
  });
} else {
  test('nothing is compiled on this Node.js, where nothing is there', async (t) => {
    const { code, stdout, stderr } = await compile(t, scratch(t), process.env);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout.toString(), /compiled/);
  });
}

async function compile(t: TestContext, folder: string, env: NodeJS.ProcessEnv) {
  const words = ['run', 'build:native', '--', folder];
  return run(t, 'npm', words, { cwd: inCheckout('.'), env });
}
