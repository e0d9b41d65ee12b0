import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { inCheckout } from '../support/program.ts';

/** What is not written in this repository. */
const FOREIGN = /^(?:node_modules|dist|build|\.git)\//;

/** All Markdown files: their paths in the checkout, and their texts. */
const files = new Map(
  readdirSync(inCheckout('.'), { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory() && !FOREIGN.test(`${entry.name}/`)
        ? readdirSync(inCheckout(entry.name), { recursive: true, encoding: 'utf8' }).map((name) =>
            join(entry.name, name),
          )
        : entry.name,
    )
    .filter((path) => path.endsWith('.md'))
    .map((path) => [path, readFileSync(inCheckout(path), 'utf8')]),
);

/** The lines of a text that are in no code block, each with its number. */
function proseOf(text: string): [line: string, number: number][] {
  let fence = '';
  return text
    .split('\n')
    .map((line, index): [string, number] => [line, index + 1])
    .filter(([line]) => {
      const mark = /^ *(```+|~~~+)/.exec(line)?.[1] ?? '';
      if (fence !== '') {
        if (mark === fence) fence = '';
        return false;
      }
      fence = mark;
      return mark === '' && !line.startsWith('    ');
    });
}

/** The anchors of a text's headings, as GitHub makes them. */
function anchorsOf(text: string): string[] {
  return proseOf(text).flatMap(([line]) => {
    const heading = /^#+ (.*)/.exec(line)?.[1]?.toLowerCase();
    return heading?.replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-') ?? [];
  });
}

test('the README has at most 150 lines', () => {
  const lines = files.get('README.md')?.trimEnd().split('\n') ?? [];
  assert.ok(lines.length > 50 && lines.length <= 150, `${lines.length}`);
});

test('Markdown has lines of at most 100 columns, tables and code blocks excepted', () => {
  assert.ok(files.size >= 7, [...files.keys()].join(' '));
  const long = [...files].flatMap(([path, text]) =>
    proseOf(text)
      .filter(([line]) => !line.startsWith('|') && line.length > 100)
      .map(([, number]) => `${path}:${number}`),
  );
  assert.deepEqual(long, []);
});

test('each link of Markdown to a file of this repository leads to one, and to a heading in it', () => {
  let followed = 0;
  const broken = [...files].flatMap(([path, text]) =>
    proseOf(text)
      .flatMap(([line]) => [...line.matchAll(/\]\(([^)\s]*)\)/g)].map(([, target = '']) => target))
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        followed += 1;
        const [file = '', anchor] = target.split('#');
        const led = file === '' ? path : join(dirname(path), file);
        if (!existsSync(inCheckout(led))) return true;
        return anchor !== undefined && !anchorsOf(files.get(led) ?? '').includes(anchor);
      })
      .map((target) => `${path}: ${target}`),
  );
  assert.deepEqual(broken, []);
  assert.ok(followed > 20, `${followed}`);
});

test('each page of the manual that Markdown or another page names is there', () => {
  const pages = new Set(readdirSync(inCheckout('debian/man')));
  const texts = [
    ...files,
    ...[...pages].map((page): [string, string] => [
      page,
      readFileSync(inCheckout(`debian/man/${page}`), 'utf8'),
    ]),
  ];
  const missing = texts.flatMap(([path, text]) =>
    [...text.matchAll(/\b((?:appengine-mailer|gmail)[a-z-]*)(?:\(| )([1-8])(?:\)| ,|$)/gm)]
      .map(([, name, section]) => `${name}.${section}`)
      .filter((page) => !pages.has(page))
      .map((page) => `${path}: ${page}`),
  );
  assert.deepEqual(missing, []);
});
