import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { libpqSettings } from '../../src/proxy/ledger/postgres/libpq-settings.ts';
import { isPostgres, ledgerText } from '../../src/proxy/ledger/postgres/postgres-url.ts';
import { holds } from '../support/holds.ts';

/** Where a user of libpq might put a password, and where a slip of the keyboard might. */
const places: readonly ((secret: string) => string)[] = [
  (secret) => `//me:${secret}@host/db`,
  (secret) => `//me:${secret}@host:5433,other/db?sslmode=require`,
  (secret) => `//:${secret}@/db`,
  (secret) => `//me:${secret}`,
  (secret) => `//me:${secret}/db`,
  (secret) => `//me@host:${secret}/db`,
  (secret) => `//host/db?password=${secret}`,
  (secret) => `//host/db?PASSWORD=${secret}`,
  (secret) => `//host/db?pass%77ord=${secret}`,
  (secret) => `//host/db?sslmode=require&passwd=${secret}`,
  (secret) => `//host/db?sslpassword=${secret}`,
  (secret) => `//host/db?options=${secret}`,
  (secret) => `//host/db?${secret}`,
  (secret) => `//host/db?port=${secret}`,
  (secret) => `//host/db?sslmode=${secret}`,
  (secret) => `me:${secret}@host/db`,
  (secret) => `/me:${secret}@host/db`,
  (secret) => ` host=host password=${secret}`,
];

const ODD = ['/', '?', '#', '@', ':', '%', '&', '=', '[', ']', ',', ' ', '\\', 'ä'];

test('law 10: no message repeats a password, wherever in a URL it stands', (t) => {
  const schemes = fc.constantFrom('postgres:', 'postgresql:', 'Postgres:', 'POSTGRESQL:');
  const piece = fc.string({ unit: fc.constantFrom(...ODD), maxLength: 3 });
  const secrets = fc.tuple(piece, piece).map(([before, after]) => `${before}S3cr3tW0rd${after}`);
  holds(
    t,
    fc.property(schemes, fc.constantFrom(...places), secrets, (scheme, place, secret) => {
      const text = `${scheme}${place(secret)}`;
      assert.throws(
        () => libpqSettings(ledgerText(text), {}),
        (error: Error) => {
          assert.ok(!/S3cr3t|W0rd/.test(error.message), `${text}: ${error.message}`);
          return true;
        },
      );
    }),
  );
});

test('law 10: a text that looks like a URL or like settings of libpq is no file, and is not repeated', () => {
  for (const text of [
    'pg://me:S3cr3t@host/db',
    'postgre://me:S3cr3t@host/db',
    'host=db user=me password=S3cr3t',
  ]) {
    assert.throws(
      () => ledgerText(text),
      (error: Error) => !error.message.includes('S3cr3t'),
    );
  }
  assert.equal(ledgerText('./led:ger.db'), './led:ger.db');
  assert.equal(ledgerText('Postgres://me@host/db'), 'postgres://me@host/db');
  assert.ok(isPostgres('POSTGRESQL:'));
});
