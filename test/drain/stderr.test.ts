import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { inCheckout, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { until } from '../support/until.ts';

/** Where nothing can be written: a disk that is full, and a pipe whose reader is gone. */
const BROKEN = {
  'a full disk': 'exec "$@" 2>/dev/full',
  'a full disk that systemd calls the journal, where no journal listens':
    'JOURNAL_STREAM=$(stat -Lc %d:%i /dev/full) exec "$@" 2>/dev/full',
  'a closed pipe': 'mkfifo "$FOLDER/pipe"; exec 3<>"$FOLDER/pipe"; exec "$@" 2>"$FOLDER/pipe" 3>&-',
};

function startBroken(
  { t, folder }: { t: TestContext; folder: string },
  script: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Program {
  const words = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), ...args];
  const own = mkdtempSync(join(folder, 'broken-'));
  const options = { cwd: folder, env: { FOLDER: own, ...env } };
  return start(t, '/bin/sh', ['-c', script, 'sh', ...words], options);
}

for (const [what, script] of Object.entries(BROKEN)) {
  test(`drain and proxy work on while standard error is ${what}`, async (t) => {
    const road = new Road(t);
    await (await road.proxy()).stop(); // Its port is free now.
    const url = `http://${road.address}/`;
    const env = { GMAIL_SECRET_KEY: road.key };
    const ledger = ['--ledger', join(road.folder, 'ledger.db'), '--dir', road.delivered];
    const proxy = startBroken(road, script, ['proxy', '--listen', road.address, ...ledger], env);
    await until(
      async () =>
        fetch(url).then(
          ({ ok }) => ok,
          () => false,
        ),
      () => 'the proxy does not answer',
    );
    const drain = startBroken(road, script, ['drain', '--spool', road.spool], {
      ...env,
      GMAIL_PROXY_URL: url,
    });
    for (const sent of [1, 2]) {
      handIn(road.spool, [{}]);
      await until(
        () => Promise.resolve(lookInto(road.spool).counters.sent === sent),
        () => `${sent} not sent`,
      );
    }
    assert.equal((await drain.stop()).code, 0);
    assert.equal((await proxy.stop()).code, 0);
  });

  test(`a command ends with its own exit code while standard error is ${what}`, async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const args = ['drain', '--once', '--spool', road.spool];
    const env = { GMAIL_SECRET_KEY: road.key, GMAIL_PROXY_URL: 'http://127.0.0.1:1/' };
    assert.equal((await startBroken(road, script, args, env).ended).code, 69);
  });
}
