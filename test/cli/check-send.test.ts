import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { hostname } from 'node:os';
import { test, type TestContext } from 'node:test';
import { DebianExim } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';

const OPERATOR = ['setpriv', '--reuid=1', '--regid=64990', '--clear-groups', '--'];
const STATIONS = new Set(['handed', 'queued', 'posted', 'verdict']);

interface Found {
  check: string;
  ok: boolean | null;
  text: string;
  todo: string | null;
}

/** A host whose Exim hands mail to the queue, and the proxy that it posts to. */
class Host {
  readonly exim: DebianExim;
  readonly road: Road;
  readonly #proxyArgs: string[];

  private constructor(exim: DebianExim, road: Road, proxyArgs: string[]) {
    this.exim = exim;
    this.road = road;
    this.#proxyArgs = proxyArgs;
  }

  static async make(t: TestContext, proxyArgs: string[] = []): Promise<Host> {
    const host = new Host(await DebianExim.make(t, { split: true }), new Road(t), proxyArgs);
    const { exim, road } = host;
    await host.proxy();
    await exim.switch('enable');
    exim.write('/etc/envdir/GMAIL_SECRET_KEY', `${road.key}\n`);
    chmodSync(exim.path('/etc/envdir/GMAIL_SECRET_KEY'), 0o600);
    exim.write('/etc/envdir/GMAIL_PROXY_URL', `http://${road.address}/\n`);
    exim.write('/etc/hosts', `127.0.0.1 localhost\n127.0.1.1 mx.host.example ${hostname()}\n`);
    return host;
  }

  async proxy(): Promise<Program> {
    return this.road.proxy(this.#proxyArgs);
  }

  drain(): Program {
    const program = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), 'drain'];
    return this.exim.start('env', program);
  }

  /** Runs `check --send`; returns the stations, its exit code and all that it said. */
  async send(address: string, by: string[] = []) {
    const args = ['check', '--json', '--send', address];
    const { code, said } = await this.exim.appengineMailer(args, {}, by);
    const found = said
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Found);
    return { code, said, stations: found.filter(({ check }) => STATIONS.has(check)) };
  }
}

const brief = (stations: readonly Found[]) =>
  stations.map(({ check, ok }) => `${check}=${ok ? 'ok' : 'FAULT'}`).join(' ');

for (const [who, by] of [
  ['root', []],
  ['an operator', OPERATOR],
] as const) {
  test(
    `check --send by ${who} follows a message through Exim, spool, drain and proxy, and tells each station with its time`,
    needs('root', 'exim4'),
    async (t) => {
      const host = await Host.make(t);
      const drain = host.drain();
      await drain.says(/drain/);
      const { code, said, stations } = await host.send('you@remote.example', [...by]);
      assert.equal(code, 0, said);
      assert.equal(brief(stations), 'handed=ok queued=ok posted=ok verdict=ok', said);
      for (const { text } of stations) assert.match(text, /, after \d+ m?s$/);
      const [delivered] = host.road.deliveries();
      assert.deepEqual(delivered?.recipients, ['you@remote.example']);
      assert.match(stations[1]?.text ?? '', new RegExp(`in the spool as ${delivered?.id}`));
      assert.match(String(delivered?.bytes), /^Subject: appengine-mailer check --send$/m);
    },
  );
}

test(
  'check --send tells where a message stays: no switch, an address of this host, a refusal of the proxy, a proxy that is down',
  needs('root', 'exim4'),
  async (t) => {
    const host = await Host.make(t, ['--allow-sender', '@else.example']);
    const drain = host.drain();
    await drain.says(/drain/);

    const refused = await host.send('you@remote.example');
    assert.equal(refused.code, 1, refused.said);
    assert.equal(brief(refused.stations), 'handed=ok queued=ok posted=ok verdict=FAULT');
    assert.match(refused.stations[3]?.text ?? '', /refused for good: 5\.7\.1 Unauthorized/);
    assert.match(refused.said, /appengine-mailer: the message was not sent: see the last line/);

    const local = await host.send('nobody-of-this-name@host.example');
    assert.equal(local.code, 1, local.said);
    assert.equal(brief(local.stations), 'handed=FAULT');
    assert.match(
      local.stations[0]?.text ?? '',
      /Exim would not hand one for <nobody-of-this-name@host\.example> to the queue/,
    );

    assert.equal((await host.send('no address')).code, 64);

    host.exim.write('/etc/envdir/GMAIL_PROXY_URL', 'http://127.0.0.1:1/\n');
    await drain.stop();
    const away = host.drain();
    await away.says(/drain/);
    const down = await host.send('you@remote.example');
    assert.equal(down.code, 1, down.said);
    assert.match(brief(down.stations), /^handed=ok queued=ok (posted=ok )?verdict=FAULT$/);
    assert.match(down.stations.at(-1)?.text ?? '', /the proxy has been down since .*ECONNREFUSED/);
    assert.match(down.stations.at(-1)?.todo ?? '', /queue explain [0-9a-f]{32}/);

    await host.exim.switch('disable');
    const off = await host.send('you@remote.example');
    assert.equal(off.code, 1, off.said);
    assert.deepEqual(off.stations, []);
    assert.match(off.said, /no message was sent, since Exim would not hand it to the queue/);
  },
);
