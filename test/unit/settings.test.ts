import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { findSetting, readSetting } from '../../src/host/settings.ts';
import { scratch } from '../support/scratch.ts';

test('a blank credential is none: a unit can offer what is not there; other files count as they are', (t) => {
  const [credentials, folder] = [scratch(t), scratch(t)];
  const sources = { environment: { CREDENTIALS_DIRECTORY: credentials }, folder };
  writeFileSync(join(credentials, 'APPENGINE_SMTP_PASSWORD'), '\n');
  assert.equal(findSetting('APPENGINE_SMTP_PASSWORD', sources), undefined);
  writeFileSync(join(folder, 'APPENGINE_SMTP_PASSWORD'), ' \n');
  assert.equal(readSetting('APPENGINE_SMTP_PASSWORD', sources)?.toString(), ' \n');
  writeFileSync(join(credentials, 'APPENGINE_SMTP_PASSWORD'), 'secret\n');
  assert.equal(readSetting('APPENGINE_SMTP_PASSWORD', sources)?.toString(), 'secret\n');
});
