import assert from 'node:assert/strict';
import { appendFileSync, cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { check } from 'prettier';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

/** What a release reads and changes. */
const FILES = [
  '.gitignore',
  '.prettierrc.json',
  'CHANGELOG.md',
  'debian/changelog',
  'debian/control',
  'debian/make',
  'package-lock.json',
  'package.json',
];

const ENTRY =
  'A change that users see, with `--an-option`, told in so many words that it needs a second line there.';

/** A git checkout of the test's own, in which a release may be made. */
class Checkout {
  readonly #t: TestContext;
  readonly folder: string;
  readonly #home: string;

  private constructor(t: TestContext) {
    this.#t = t;
    this.folder = scratch(t);
    this.#home = scratch(t);
  }

  static async make(t: TestContext): Promise<Checkout> {
    const checkout = new Checkout(t);
    for (const file of FILES) {
      cpSync(inCheckout(file), join(checkout.folder, file), { recursive: true });
    }
    checkout.edit(
      'CHANGELOG.md',
      /^## Unreleased\n[^]*?(?=^## )/m,
      `## Unreleased\n\n- ${ENTRY}\n\n### Proxy\n\n- Another\n  change.\n\n`,
    );
    await checkout.git('init', '--quiet', '--initial-branch=main');
    await checkout.git('config', 'user.name', 'A Tester');
    await checkout.git('config', 'user.email', 'tester@example.org');
    // node_modules is a link here, which .gitignore does not mean.
    appendFileSync(join(checkout.folder, '.git/info/exclude'), 'node_modules\n');
    symlinkSync(inCheckout('node_modules'), join(checkout.folder, 'node_modules'));
    await checkout.commitAll();
    return checkout;
  }

  read(file: string): string {
    return readFileSync(join(this.folder, file), 'utf8');
  }

  edit(file: string, from: RegExp | string, to: string): void {
    writeFileSync(join(this.folder, file), this.read(file).replace(from, to));
  }

  async commitAll(): Promise<void> {
    await this.git('add', '--all');
    await this.git('commit', '--quiet', '--message', 'test: a change');
  }

  async git(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#run('git', args);
    assert.equal(code, 0, stderr);
    return stdout.toString().trimEnd();
  }

  /** Everything that a release could change. */
  async state(): Promise<string[]> {
    return [
      await this.git('status', '--porcelain'),
      await this.git('for-each-ref'),
      await this.git('symbolic-ref', '--quiet', 'HEAD'),
      (await this.git('worktree', 'list')).split('\n').length.toString(),
      ...FILES.filter((file) => file !== 'debian/make').map((file) => this.read(file)),
    ];
  }

  release(...args: string[]) {
    return this.#run('npm', ['run', '--silent', 'release', '--', ...args]);
  }

  #run(program: string, args: readonly string[]) {
    const env = { HOME: this.#home, GIT_CONFIG_NOSYSTEM: '1' };
    return run(this.#t, program, args, { cwd: this.folder, env });
  }
}

test('nobody is told to write to an address that does not exist', () => {
  const contacts = ['debian/control', 'debian/changelog', 'package.json', 'SECURITY.md', 'LICENSE'];
  for (const path of contacts) {
    const text = readFileSync(inCheckout(path), 'utf8');
    assert.doesNotMatch(text, /@[\w.-]*\.(?:invalid|example|test)\b/, path);
  }
});

test('package.json, the changelogs and the lock file have the same version', () => {
  const versions = [
    ['package.json', /^ {2}"version": "(.*)"/m],
    ['package-lock.json', /^ {2}"version": "(.*)"/m],
    ['CHANGELOG.md', /^## (\d\S*) \(\d{4}-\d\d-\d\d\)$/m],
    ['debian/changelog', /^appengine-mailer \((.*)\)/],
  ] as const;
  const found = versions.map(
    ([path, pattern]) => pattern.exec(readFileSync(inCheckout(path), 'utf8'))?.[1],
  );
  assert.ok(found[0]);
  assert.deepEqual(new Set(found), new Set([found[0]]));
});

test(
  'a release sets the version everywhere, commits, and makes an annotated tag',
  needs('git'),
  async (t) => {
    const checkout = await Checkout.make(t);
    const before = await checkout.git('rev-parse', 'HEAD');
    const { code, stdout, stderr } = await checkout.release('99.0.0');
    assert.equal(code, 0, stderr);
    assert.match(
      stdout.toString(),
      /^v99\.0\.0 is made\. To publish it: git push --follow-tags\n$/,
    );

    assert.equal(await checkout.git('cat-file', '-t', 'v99.0.0'), 'tag');
    const [tagged, head, parent] = await Promise.all(
      ['v99.0.0^{commit}', 'HEAD', 'HEAD~1'].map((name) => checkout.git('rev-parse', name)),
    );
    assert.equal(tagged, head);
    assert.equal(parent, before);
    assert.equal(await checkout.git('log', '-1', '--format=%s'), 'release: 99.0.0');
    assert.equal(await checkout.git('symbolic-ref', 'HEAD'), 'refs/heads/main');
    assert.equal(await checkout.git('status', '--porcelain'), '');
    assert.equal((await checkout.git('worktree', 'list')).split('\n').length, 1);

    assert.match(checkout.read('package.json'), /^ {2}"version": "99\.0\.0",$/m);
    const lock = JSON.parse(checkout.read('package-lock.json')) as {
      version: string;
      packages: Record<string, { version: string }>;
    };
    assert.deepEqual([lock.version, lock.packages['']?.version], ['99.0.0', '99.0.0']);
    const changes = checkout.read('CHANGELOG.md');
    assert.match(changes, /^## Unreleased\n\n## 99\.0\.0 \(\d{4}-\d\d-\d\d\)\n\n- A change that /m);
    for (const file of ['CHANGELOG.md', 'package.json']) {
      const options = { printWidth: 100, proseWrap: 'always', filepath: file } as const;
      assert.ok(
        await check(
          checkout.read(file).replace(ENTRY, 'A change.').replace('Another\n  ', 'Another '),
          options,
        ),
        file,
      );
    }
    const [entry = ''] = checkout.read('debian/changelog').split(/^(?=appengine-mailer )/m);
    const maintainer = /^Maintainer: (.*)$/m.exec(checkout.read('debian/control'))?.[1];
    assert.match(
      entry,
      /^appengine-mailer \(99\.0\.0\) unstable; urgency=medium\n\n {2}\* A change that /,
    );
    assert.match(
      entry,
      /that it\n {4}needs a second line there\.\n {2}\* Another change\.\n\n -- /,
    );
    assert.ok(entry.includes(`\n -- ${maintainer}  `));
    assert.match(entry, / {2}[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} \+0000\n\n$/);
    assert.ok(entry.split('\n').every((line) => line.startsWith(' -- ') || line.length <= 80));

    const again = await checkout.release('99.0.1');
    assert.equal(again.code, 1);
    assert.equal(again.stderr, 'CHANGELOG.md has no entries under "Unreleased".\n');
  },
);

test(
  'a dry run shows the same commit, and changes neither files, branches nor tags',
  needs('git'),
  async (t) => {
    const checkout = await Checkout.make(t);
    const before = await checkout.state();
    const { code, stdout, stderr } = await checkout.release('99.0.0', '--dry-run');
    assert.equal(code, 0, stderr);
    assert.deepEqual(await checkout.state(), before);
    const text = stdout.toString();
    for (const file of ['CHANGELOG.md', 'debian/changelog', 'package-lock.json', 'package.json']) {
      assert.ok(text.includes(`\n+++ b/${file}\n`), `${file}: ${text}`);
    }
    assert.match(text, /^release: 99\.0\.0\n/);
    assert.match(text, /^\+ {2}"version": "99\.0\.0",$/m);
    assert.match(text, /This was a dry run: .* The tag would be v99\.0\.0\.\n$/);
  },
);

/** What makes a release impossible, the version that is asked for, and what the command says. */
const refusals: [
  what: string,
  prepare: (checkout: Checkout) => unknown,
  version: string,
  says: RegExp,
][] = [
  [
    'files that are not committed',
    (checkout) => checkout.edit('debian/control', 'Priority', 'Priority '),
    '99.0.0',
    /^Commit these changes, or put them aside:\n M debian\/control\n$/,
  ],
  [
    'files that git does not know',
    (checkout) => writeFileSync(join(checkout.folder, 'new'), ''),
    '99.0.0',
    /^Commit these changes, or put them aside:\n\?\? new\n$/,
  ],
  [
    'a tag of this version',
    (checkout) => checkout.git('tag', 'v99.0.0'),
    '99.0.0',
    /^The tag v99\.0\.0 exists already\.$/m,
  ],
  [
    'no branch',
    (checkout) => checkout.git('checkout', '--quiet', '--detach'),
    '99.0.0',
    /^No branch is checked out\./,
  ],
  [
    'nobody to commit as',
    async (checkout) => {
      await checkout.git('config', '--unset', 'user.email');
      await checkout.git('config', 'user.useConfigOnly', 'true');
    },
    '99.0.0',
    /^git does not know who you are\./,
  ],
  ['an older version', () => {}, '0.0.9', /^0\.0\.9 is not newer than the present version, /],
  [
    'another version in debian/changelog',
    async (checkout) => {
      checkout.edit('debian/changelog', /\(.*\)/, '(98.0.0)');
      await checkout.commitAll();
    },
    '99.0.0',
    /^package\.json has version \S+, but the latest version in debian\/changelog is 98\.0\.0\.$/m,
  ],
  [
    'another version in CHANGELOG.md',
    async (checkout) => {
      checkout.edit('CHANGELOG.md', /^## \d\S*/m, '## 98.0.0');
      await checkout.commitAll();
    },
    '99.0.0',
    /but the latest version in CHANGELOG\.md is 98\.0\.0\.$/m,
  ],
  [
    'another version in package-lock.json',
    async (checkout) => {
      checkout.edit('package-lock.json', /"version": ".*?"/, '"version": "98.0.0"');
      await checkout.commitAll();
    },
    '99.0.0',
    /but the latest version in package-lock\.json is 98\.0\.0\.$/m,
  ],
];

for (const [what, prepare, version, says] of refusals) {
  test(`a release is refused with ${what}, and changes nothing`, needs('git'), async (t) => {
    const checkout = await Checkout.make(t);
    await prepare(checkout);
    const head = await checkout.git('for-each-ref');
    const files = FILES.slice(2).filter((file) => file !== 'debian/make');
    const before = files.map((file) => checkout.read(file));
    const { code, stderr } = await checkout.release(version);
    assert.equal(code, 1, stderr);
    assert.match(stderr, says);
    assert.equal(await checkout.git('for-each-ref'), head);
    assert.deepEqual(
      files.map((file) => checkout.read(file)),
      before,
    );
  });
}

test('a release is refused outside a git checkout', needs('git'), async (t) => {
  const checkout = await Checkout.make(t);
  rmSync(join(checkout.folder, '.git'), { recursive: true });
  const { code, stderr } = await checkout.release('99.0.0');
  assert.equal(code, 1, stderr);
  assert.equal(stderr, 'This folder is not a git checkout.\n');
});

test('a command line that cannot be understood is answered with the usage (64)', async (t) => {
  const script = inCheckout('debian/make/release.ts');
  for (const args of [[], ['0.2'], ['v0.2.0'], ['0.2.0', '0.3.0'], ['0.2.0', '--force']]) {
    const { code, stderr } = await run(t, inCheckout('node_modules/.bin/tsx'), [script, ...args]);
    assert.equal(code, 64, args.join(' '));
    assert.match(stderr, /^usage: npm run release -- VERSION \[--dry-run\]\n/);
  }
});
