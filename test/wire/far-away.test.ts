import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { FAR, farAway } from '../support/far-away.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';

/** A machine without IPv6, and a proxy that is far away, whose name has an address of either kind. */
async function farRoad(t: TestContext, network: Parameters<typeof farAway>[2]) {
  const road = new Road(t);
  const inside = await farAway(t, road.folder, network);
  const env = {
    GMAIL_SECRET_KEY: road.key,
    GMAIL_PROXY_URL: `http://${FAR.name}:8025/`,
    APPENGINE_MAILER_ALLOW_INSECURE: 'true',
    APPENGINE_MAILER_NOTICE_SMTP: `${FAR.name}:2525`,
  };
  const run = (file: string, args: string[], more: NodeJS.ProcessEnv = {}, input = ''): Program => {
    const words = inside(process.execPath, inCheckout(`dist/bin/${file}`), ...args);
    return start(t, ...words, { env: { ...env, ...more }, cwd: road.folder, input });
  };
  const proxy = async (...args: string[]) => {
    const ledger = ['--ledger', join(road.folder, 'ledger.db'), '--dir', road.delivered];
    const listen = ['--listen', `${FAR.listens}:8025`];
    const program = run('appengine-mailer.js', ['proxy', ...listen, ...ledger, ...args]);
    await program.says(/proxy listens on/);
    return program;
  };
  /** A server that says one line to each client, and no more. */
  const says = async (port: number, line: string) => {
    const script = `require('net').createServer((s) => s.on('error', () => {}).end(${JSON.stringify(line)})).listen(${port}, '${FAR.listens}', () => console.error('ready'))`;
    await start(t, ...inside(process.execPath, '-e', script), { input: '' }).says(/ready/);
  };
  const drain = (...args: string[]) =>
    run('appengine-mailer.js', ['drain', '--spool', road.spool, ...args]);
  return { road, run, proxy, says, drain };
}

for (const [name, network] of [
  ['a round trip takes 0.6 s', { ms: 300 }],
  ['the first packet of each connection is lost', { losesSyns: true }],
] as const) {
  test(
    `${name}, and there is no IPv6: drain, gmail, check, the relay and the mail server of the host are reached (law 13)`,
    needs('root', 'cc'),
    async (t) => {
      const { road, run, proxy, says, drain } = await farRoad(t, network);
      const files = await proxy('--backend', 'file');
      // The greeting of the mail server that takes reports, and of the relay, shows that they are reached.
      await says(2525, '554 far, but here\r\n');
      handIn(road.spool, [{ recipients: ['r@example.org', 'not an address'] }]);
      const once = await drain('--once').ended;
      assert.equal(once.code, 0, once.stderr);
      assert.doesNotMatch(once.stderr, /is down/);
      assert.match(once.stderr, /<r@example\.org> sent/);
      assert.match(once.stderr, /mail server far\.example:2525 takes none: .*554 far, but here/);

      const gmail = await run('gmail.js', ['r@example.org'], {}, 'x\n').ended;
      assert.deepEqual([gmail.code, gmail.stderr], [0, '']);
      const check = await run('appengine-mailer.js', ['check', '--spool', road.spool]).ended;
      assert.match(check.stdout.toString(), /far\.example:8025\/ answers[^]*takes our key/);
      await files.stop();

      await proxy('--backend', 'smtp', '--smtp-host', FAR.name, '--smtp-port', '2525');
      handIn(road.spool, [{}]);
      assert.match((await drain('--once').ended).stderr, /answered 503 .*554 far, but here/);
    },
  );
}
