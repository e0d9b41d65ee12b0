import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { inCheckout } from '../support/program.ts';

const map = readFileSync(inCheckout('src/README.md'), 'utf8');
const paths = readdirSync(inCheckout('src'), { recursive: true, encoding: 'utf8' }).filter((path) =>
  /\.(?:ts|mjs)$/.test(path),
);
const code = paths.map((path) => readFileSync(inCheckout(`src/${path}`), 'utf8')).join('\n');

test('the functions, classes and options that src/README.md names are in the code', () => {
  const names = [...map.matchAll(/`([A-Za-z]\w*(?:\.\w+)?)`/g)].map(([, name = '']) => name);
  assert.ok(names.length > 50);
  const missing = names.filter((name) => {
    return !name.split('.').every((part) => new RegExp(`\\b${part}\\b`).test(code));
  });
  assert.deepEqual(missing, []);
});

test('the files that src/README.md names exist', () => {
  const named = [...map.matchAll(/[\w./-]+\.(?:ts|mjs|md)\b/g)].map(([name]) => name);
  assert.ok(named.length > 30);
  const missing = named.filter((name) => {
    const isHere = ['src/', ''].some((folder) => existsSync(inCheckout(`${folder}${name}`)));
    return !isHere && !paths.some((path) => path.endsWith(`/${name}`)) && name !== 'README.md';
  });
  assert.deepEqual(missing, []);
});

test('no line of src/README.md but those of tables is longer than 100 columns', () => {
  const long = map.split('\n').filter((line) => line.length > 100 && !line.startsWith('|'));
  assert.deepEqual(long, []);
});
