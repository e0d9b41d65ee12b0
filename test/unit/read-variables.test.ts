import assert from 'node:assert/strict';
import test from 'node:test';
import { parseEnv } from 'node:util';
import { readVariables } from '../../src/host/read-variables.ts';

const FILE = '/etc/default/appengine-mailer';

const sound = [
  '',
  'A=1',
  '# A=1\n\nB=2\n',
  'A=1 # one\nB = 2\nexport C=three words \n',
  'A="1 # 2"\nB=\'3\' # four\nC=`5"`\n',
  'KEYS="one\ntwo=2\n#three\n"\nB=2\n',
  'A="1\\n2"\nB=\'1\\n2\'\n',
  'A=\nB=""\nC==x\nD=a"b\'c\n',
  'A=1\r\nB="2\r\n3"\r\n',
];
for (const text of sound) {
  test(`${JSON.stringify(text)} is read as Node.js reads it`, () => {
    assert.deepEqual(Object.fromEntries(readVariables(text, FILE)), { ...parseEnv(text) });
  });
}

test('a comment that is indented swallows no setting, as it does in Node.js', () => {
  assert.deepEqual([...readVariables('  # a comment\nA=1\n', FILE)], [['A', '1']]);
});

const refused: [text: string, line: number][] = [
  ['A=1\nB\nC=3\n', 2],
  ['A="1\n2" B=3\n', 1],
  ['A=1\n\nB="never ended\nC=3\n', 3],
  ['A="secret', 1],
  ['A B=1', 1],
  ['A: 1', 1],
  ['=1', 1],
  ['\ufeffA=1', 1],
];
for (const [text, line] of refused) {
  test(`${JSON.stringify(text)} is refused with the number of the line, without what is in it`, () => {
    assert.throws(() => readVariables(text, FILE), {
      exitCode: 78,
      message: `line ${line} of ${FILE} is not NAME=value, nor a comment or a blank line`,
    });
  });
}

const twice: [text: string, lines: string][] = [
  ['A=1\nA=2\n', '1 and 2'],
  ['A=1\nB=2\n# A=3\n export A = 4', '1 and 4'],
  ['B="\n\n"\nA=\n\nA=', '4 and 6'],
];
for (const [text, lines] of twice) {
  test(`${JSON.stringify(text)} names A twice: neither counts`, () => {
    assert.throws(() => readVariables(text, FILE), {
      exitCode: 78,
      message: new RegExp(`^${FILE} sets A twice, in the lines ${lines}:`),
    });
  });
}
