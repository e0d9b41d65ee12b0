import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { bsmtp, Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { ServiceManager } from '../support/service-manager.ts';

for (const backend of ['file', 'discard']) {
  test(`with the ${backend} backend, status line and first line of the journal say that nothing leaves the machine`, async (t) => {
    const road = new Road(t);
    const manager = new ServiceManager(t, 400);
    const proxy = await road.proxy(['--backend', backend], manager.environment);
    const fate = backend === 'file' ? `kept in ${join(road.folder, 'delivered')}` : 'thrown away';
    const said = `backend ${backend} \\(nothing leaves this machine: all mail is ${fate}\\)`;
    const [first = ''] = proxy.stderr.split('\n');
    assert.match(first, new RegExp(`^proxy listens on \\S+, ${said}, any sender, ledger `));
    assert.match(await manager.hears(/^READY=1\n/), new RegExp(said));
  });
}

test("status line and first line of the journal name the relay and the allowed senders; the status tells the relay's trouble while it lasts", async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t, 400);
  const smtp = await ScriptedSmtp.start(t, { greeting: '421 4.3.2 closed for today' });
  const relay = ['--backend', 'smtp', '--smtp-host', '127.0.0.1', '--smtp-security', 'none'];
  const senders = ['--allow-sender', 's@example.com', '--allow-sender', '@example.net'];
  const proxy = await road.proxy(
    [...relay, '--smtp-port', String(smtp.port), '--smtp-name', 'me.example', ...senders],
    manager.environment,
  );
  const about = `backend smtp, relay 127\\.0\\.0\\.1:${smtp.port}, allowed senders s@example\\.com @example\\.net`;
  assert.match(proxy.stderr, new RegExp(`^proxy listens on \\S+, ${about}, ledger `));
  assert.match(
    await manager.hears(/^READY=1\n/),
    new RegExp(`STATUS=listens on \\S+; ${about}; recipients since the start: 0 sent`),
  );

  await road.pipe(
    '1abc-1',
    bsmtp('s@example.com', ['r@example.org'], 'From: s@example.com\n\nx\n'),
  );
  const drain = road.drain();
  const trouble = await manager.hears(/STATUS=attention/);
  assert.match(
    trouble,
    /STATUS=attention, for \d+ m?s: the relay 127\.0\.0\.1:\d+: it answered "421 4\.3\.2 closed for today".*; listens on /,
  );
  smtp.script = {};
  await manager.hears(/STATUS=listens on .*: 1 sent/);
  assert.equal((await drain.stop()).code, 0);
});
