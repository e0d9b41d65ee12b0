import assert from 'node:assert/strict';
import test from 'node:test';
import { CommandError } from '../../src/host/command-error.ts';
import { durationFrom } from '../../src/host/duration.ts';
import { Origins, readOptions, variableOf, type OptionTable } from '../../src/host/options.ts';
import { assertGolden } from '../support/golden.ts';
import { allSettings, settingsTable } from '../support/settings-table.ts';

/** A text that is no value of an option; undefined for options that take any text. */
const WRONG: Record<string, string> = {
  'allow-insecure': 'maybe',
  'allow-sender': 'example.org',
  backend: 'pigeon',
  'default-sender': 'nobody',
  'delay-warnings': 'soon',
  'first-wait': '30',
  'fix-sender': 'maybe',
  lifetime: 'long',
  listen: '8025',
  'longest-wait': '1 h',
  'jmap-url': 'http://jmap.example.org/session',
  'mailgun-domain': 'not a domain',
  'mailgun-url': 'api.mailgun.net',
  ledger: 'postgres://proxy:secret@db.example.org/ledger',
  'max-recipients': '0',
  metrics: 'localhost',
  'max-size': '200MB',
  'notice-smtp': 'localhost',
  'notices-per-hour': 'many',
  once: 'maybe',
  pace: '14/d',
  'pace-day': '0',
  'proxy-url': 'proxy.example.org',
  queue: 'maybe',
  rate: 'often',
  'ses-endpoint': 'https://user@email.example.org/',
  'ses-region': 'EU (Ireland)',
  'smtp-connections': '1.5',
  'smtp-host': 'smtp://relay.example.org',
  'smtp-port': '65536',
  'smtp-security': 'ssl',
  socket: 'intake.sock',
  'soft-bounce': 'maybe',
  'take-over': '5 minutes',
  timeout: '2d',
  'v1-success': '404',
  wire: 'v3',
};
const ANY_TEXT = new Set(
  'ca-file dir exim jmap-user keys-file smtp-ca-file smtp-name smtp-user spool subject'.split(' '),
);

for (const { name, option, commands } of allSettings()) {
  const wrong = WRONG[name];
  if (wrong === undefined) {
    test(`--${name} of ${commands[0]} takes any text`, () => assert.ok(ANY_TEXT.has(name)));
    continue;
  }
  const table: OptionTable = { [name]: option };
  test(`a wrong --${name} of ${commands[0]} is 64, and 78 as a variable; both are named`, () => {
    const refused = (given: Record<string, string>, environment: NodeJS.ProcessEnv) => {
      try {
        readOptions(table, given, new Origins(), environment);
      } catch (error) {
        assert.ok(error instanceof CommandError, String(error));
        return error;
      }
      return assert.fail(`${name} takes ${wrong}`);
    };
    const asOption = refused({ [name]: wrong }, {});
    assert.equal(asOption.exitCode, 64);
    assert.ok(asOption.message.startsWith(`--${name} `), asOption.message);
    const asVariable = refused({}, { [variableOf(name)]: wrong });
    assert.equal(asVariable.exitCode, 78);
    assert.ok(asVariable.message.startsWith(`${variableOf(name)} `), asVariable.message);
    const other = 'flag' in option ? undefined : option.also?.variable;
    if (other === undefined) return;
    assert.equal(refused({}, { [other]: wrong }).exitCode, 78);
  });
}

test('a duration that is too short is refused, and the error says what is enough', () => {
  const parse = durationFrom(1000);
  assert.equal(parse('1s'), 1000);
  assert.throws(() => parse('0.9s'), /takes a duration of 1s or more and got "0\.9s"/);
});

test('an option wins over its variable, that over another variable, and an empty variable is none', () => {
  const table = {
    'a-b': { parse: (text: string) => text.length, default: 'four', also: { variable: 'OTHER' } },
  } as const;
  const value = (given: Record<string, string>, environment: NodeJS.ProcessEnv) =>
    readOptions(table, given, new Origins(), environment).aB;
  const [variable, OTHER] = [variableOf('a-b'), '333'];
  assert.equal(variable, 'APPENGINE_MAILER_A_B');
  assert.equal(value({ 'a-b': '1' }, { [variable]: '22', OTHER }), 1);
  assert.equal(value({}, { [variable]: '22', OTHER }), 2);
  assert.equal(value({}, { [variable]: '', OTHER }), 3);
  assert.equal(value({}, {}), 4);
});

test('the manual has a table of all settings, as the commands declare them', () => {
  const table = /^\.Ss All options that are also variables\n[^]*?(?=^\.\\" End of the table)/m;
  assertGolden('debian/man/appengine-mailer-settings.5', settingsTable(), table);
});
