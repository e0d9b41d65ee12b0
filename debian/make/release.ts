import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { changelog } from './changelog.ts';

// `npm run release -- VERSION [--dry-run]`: CONTRIBUTING.md says how a release is made.

/** What an npm package says of itself, as far as a release changes it. */
interface PackageJson {
  version: string;
}

interface PackageLock extends PackageJson {
  packages: { '': PackageJson };
}

/** A precondition of a release that does not hold; the message says which, for the person at the terminal. */
class ReleaseRefusedError extends Error {
  override name = 'ReleaseRefusedError';
}

const SYNTAX =
  'usage: npm run release -- VERSION [--dry-run]\nVERSION is three numbers, such as 0.2.0.';

/**
 * Makes a release: a commit with the version in package.json, package-lock.json, CHANGELOG.md and
 * debian/changelog, and an annotated tag of it. The commit is made in a worktree of its own, so that a dry
 * run does the same and the checkout changes in one step, or not at all.
 */
function release(version: string, dryRun: boolean): void {
  requireReadyCheckout(version);
  const files = releasedFiles(version, new Date());
  const tag = tagOf(version);
  const worktree = mkdtempSync(join(tmpdir(), 'appengine-mailer-release-'));
  git('worktree', 'add', '--quiet', '--detach', worktree, 'HEAD');
  try {
    for (const [path, text] of files) writeFileSync(join(worktree, path), text);
    git('-C', worktree, 'commit', '--quiet', '--all', '--message', `release: ${version}`);
    const commit = git('-C', worktree, 'rev-parse', 'HEAD');
    if (dryRun) {
      console.log(git('show', '--no-color', '--format=%s%n', '--stat', '--patch', commit));
      console.log(
        `\nThis was a dry run: no branch, tag or file was changed. The tag would be ${tag}.`,
      );
      return;
    }
    git('tag', '--annotate', '--message', `appengine-mailer ${version}`, tag, commit);
    git('merge', '--quiet', '--ff-only', commit);
    console.log(`${tag} is made. To publish it: git push --follow-tags`);
  } finally {
    git('worktree', 'remove', '--force', worktree);
    rmSync(worktree, { recursive: true, force: true });
  }
}

/** Refuses a checkout from which no release can be made. */
function requireReadyCheckout(version: string): void {
  if (!succeeds('rev-parse', '--is-inside-work-tree')) {
    throw new ReleaseRefusedError('This folder is not a git checkout.');
  }
  const changes = git('status', '--porcelain');
  if (changes !== '') {
    throw new ReleaseRefusedError(`Commit these changes, or put them aside:\n${changes}`);
  }
  if (!succeeds('symbolic-ref', '--quiet', 'HEAD')) {
    throw new ReleaseRefusedError(
      'No branch is checked out. Check out the branch that the release is made on.',
    );
  }
  if (!succeeds('var', 'GIT_COMMITTER_IDENT')) {
    throw new ReleaseRefusedError(
      'git does not know who you are. Set user.name and user.email with git config.',
    );
  }
  const tag = tagOf(version);
  if (succeeds('rev-parse', '--quiet', '--verify', `refs/tags/${tag}`)) {
    throw new ReleaseRefusedError(`The tag ${tag} exists already.`);
  }
}

/** The new texts of all files that a release changes, by their paths. */
function releasedFiles(version: string, now: Date): Map<string, string> {
  const packageJson = readJson('package.json') as PackageJson;
  const packageLock = readJson('package-lock.json') as PackageLock;
  const changes = readFileSync('CHANGELOG.md', 'utf8');
  const { version: previous } = packageJson;
  const others = {
    'package-lock.json': packageLock.version,
    'CHANGELOG.md': /^## (\d\S*)/m.exec(changes)?.[1] ?? 'none',
    'debian/changelog': changelog().version,
  };
  for (const [path, found] of Object.entries(others)) {
    if (found === previous) continue;
    throw new ReleaseRefusedError(
      `package.json has version ${previous}, but the latest version in ${path} is ${found}.`,
    );
  }
  if (!isNewer(version, previous)) {
    throw new ReleaseRefusedError(`${version} is not newer than the present version, ${previous}.`);
  }
  const entries = unreleased(changes);
  if (entries.length === 0) {
    throw new ReleaseRefusedError('CHANGELOG.md has no entries under "Unreleased".');
  }

  packageJson.version = version;
  packageLock.version = version;
  packageLock.packages[''].version = version;
  const heading = `## ${version} (${now.toISOString().slice(0, 10)})`;
  return new Map([
    ['package.json', jsonText(packageJson)],
    ['package-lock.json', jsonText(packageLock)],
    ['CHANGELOG.md', changes.replace(/^## Unreleased$/m, `$&\n\n${heading}`)],
    [
      'debian/changelog',
      debianEntry(version, entries, now) + readFileSync('debian/changelog', 'utf8'),
    ],
  ]);
}

/** The items of the list under "Unreleased", each on one line. */
function unreleased(changes: string): string[] {
  const section = /^## Unreleased\n([^]*?)(?=^## )/m.exec(changes)?.[1] ?? '';
  return [...section.matchAll(/^- ([^]*?)\n(?=- |\n|#|$(?![^]))/gm)].map(([, item = '']) =>
    item.replaceAll(/\s+/g, ' '),
  );
}

/** An entry of debian/changelog (deb-changelog(5)), in lines of at most 80 columns. */
function debianEntry(version: string, entries: readonly string[], now: Date): string {
  const maintainer = /^Maintainer: (.*)$/m.exec(readFileSync('debian/control', 'utf8'))?.[1];
  const date = now.toUTCString().replace('GMT', '+0000');
  return [
    `appengine-mailer (${version}) unstable; urgency=medium\n`,
    ...entries.map((entry) => `  * ${wrap(entry, 76).join('\n    ')}`),
    `\n -- ${maintainer}  ${date}\n\n`,
  ].join('\n');
}

/** Breaks a text between words into lines of so many columns; a longer word has a line of its own. */
function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = [...lines.slice(-1), word].join(' ');
    if (lines.length > 0 && longer.length <= columns) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

function isNewer(version: string, previous: string): boolean {
  return version.localeCompare(previous, 'en', { numeric: true }) > 0;
}

function tagOf(version: string): string {
  return `v${version}`;
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** JSON as npm writes it. */
function jsonText(content: unknown): string {
  return `${JSON.stringify(content, undefined, 2)}\n`;
}

/** Runs git and returns what it printed, without the last line end. */
function git(...args: string[]): string {
  const { status, stdout, stderr } = runGit(args);
  if (status !== 0) throw new Error(`git ${args.join(' ')} failed: ${stderr}`);
  return stdout.trimEnd();
}

function succeeds(...args: string[]): boolean {
  return runGit(args).status === 0;
}

function runGit(args: readonly string[]) {
  return spawnSync('git', args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
}

/** What the command line asks for; undefined when it cannot be understood. */
function readArguments(): { version: string; dryRun: boolean } | undefined {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: { 'dry-run': { type: 'boolean', default: false } },
    });
    const [version = '', ...more] = positionals;
    if (more.length > 0 || !/^(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}$/.test(version))
      return undefined;
    return { version, dryRun: values['dry-run'] };
  } catch {
    return undefined;
  }
}

const wanted = readArguments();
if (!wanted) {
  console.error(SYNTAX);
  process.exitCode = 64;
} else {
  try {
    release(wanted.version, wanted.dryRun);
  } catch (error) {
    if (!(error instanceof ReleaseRefusedError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
