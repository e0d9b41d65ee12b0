import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

/** What Exim says, with our main options and retry rule after these macros. */
async function ask(t: TestContext, macros: string, ...args: string[]): Promise<string> {
  const config = join(scratch(t), 'config');
  const lines = [
    macros,
    'APPENGINE_MAILER_PIPE = /bin/true',
    'CONFDIR = /nowhere',
    'primary_hostname = host.example',
    'domainlist local_domains = host.example',
    'keep_environment =',
    `.include ${inCheckout('exim/main')}`,
    'begin retry',
    `.include ${inCheckout('exim/retry')}`,
    '* * F,4d,2h',
  ];
  writeFileSync(config, lines.map((line) => `${line}\n`).join(''));
  const { code, stdout, stderr } = await run(t, '/usr/sbin/exim4', ['-C', config, ...args]);
  assert.equal(code, 0, stderr);
  return stdout.toString().trim();
}

const retryOf = ['-brt', 'you@remote.example'];

test(
  'what exim-pipe put off is tried for 30 days, and Exim warns senders as ever',
  needs('root', 'exim4'),
  async (t) => {
    assert.match(await ask(t, '', ...retryOf), /F,4w2d,15m/);
    assert.equal(await ask(t, '', '-bP', 'delay_warning'), 'delay_warning = 1d');
  },
);

test(
  'how long that is tried, and when Exim warns senders, are settings',
  needs('root', 'exim4'),
  async (t) => {
    const macros = 'APPENGINE_MAILER_RETRY = F,7d,30m\nAPPENGINE_MAILER_DELAY_WARNING = 4h:24h';
    assert.match(await ask(t, macros, ...retryOf), /F,1w,30m/);
    assert.equal(await ask(t, macros, '-bP', 'delay_warning'), 'delay_warning = 4h:1d');
    const never = 'APPENGINE_MAILER_DELAY_WARNING = 0s';
    assert.match(await ask(t, never, '-bP', 'delay_warning'), /^delay_warning =( 0s)?$/);
  },
);
