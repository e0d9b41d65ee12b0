import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { figures, LONG } from '../support/figures.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import { appengineMailer, type Program } from '../support/program.ts';
import { random, type Random } from '../support/random.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { encodePost, signedPost } from '../support/signed-post.ts';
import { until } from '../support/until.ts';

const HOSTS = 10;
const MESSAGES = LONG ? 20_000 : 120;
/** Milliseconds between two troubles, on average. */
const GAP = LONG ? 700 : 200;

/** Three proxies with one ledger, and what befalls them. */
class Cluster {
  readonly t: TestContext;
  readonly server: PostgresServer;
  readonly folder: string;
  readonly #relay: number;
  readonly struck: Record<string, number> = {};
  readonly addresses: string[] = [];
  #proxies: Program[] = [];

  private constructor(t: TestContext, server: PostgresServer, relay: number) {
    this.t = t;
    this.server = server;
    this.folder = scratch(t);
    this.#relay = relay;
    const keys = Array.from({ length: HOSTS }, (_, host) => `# name host${host}\n${keyOf(host)}\n`);
    writeFileSync(join(this.folder, 'keys'), keys.join(''), { mode: 0o600 });
  }

  static async start(t: TestContext, relay: number): Promise<Cluster> {
    const cluster = new Cluster(t, await PostgresServer.start(t), relay);
    for (let number = 0; number < 3; number += 1) await cluster.#startProxy(number);
    return cluster;
  }

  /** Strikes until stopped. */
  async rage({ below }: Random, stop: AbortSignal): Promise<void> {
    const troubles = this.#troubles(below);
    const names = Object.keys(troubles);
    for (let deck: string[] = []; !stop.aborted;) {
      if (deck.length === 0) deck = [...names];
      const [name = ''] = deck.splice(below(deck.length), 1);
      await sleep(below(2 * GAP));
      this.struck[name] = (this.struck[name] ?? 0) + 1;
      await troubles[name]?.();
    }
  }

  #troubles(below: Random['below']): Record<string, () => Promise<void>> {
    const kill = async () => {
      const number = below(3);
      await this.#proxies[number]?.stop('SIGKILL');
      await this.#startProxy(number);
    };
    return {
      'proxy killed': kill,
      'proxy suspended': async () => {
        const { child } = this.#proxies[below(3)] ?? {};
        child?.kill('SIGSTOP');
        // Sometimes for longer than --take-over.
        await sleep(below(2500));
        child?.kill('SIGCONT');
      },
      'suspended, and cut off from the database': async () => {
        const { child } = this.#proxies[below(3)] ?? {};
        child?.kill('SIGSTOP');
        await this.#cutOff();
        await sleep(2000);
        child?.kill('SIGCONT');
      },
      'PostgreSQL restarted': async () => {
        await this.server.stop('SIGINT');
        await sleep(below(500));
        await this.server.start();
      },
      'PostgreSQL crashed': async () => {
        await this.server.stop('SIGQUIT');
        await this.server.start();
      },
      'connections cut': async () => this.#cutOff(),
    };
  }

  async #cutOff(): Promise<void> {
    await this.server.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'appengine-mailer'`,
    );
  }

  /** A proxy that cannot have the database exits; its unit would start it again. */
  async #startProxy(number: number): Promise<void> {
    const relay = [
      '--backend',
      'smtp',
      '--smtp-host',
      '127.0.0.1',
      '--smtp-port',
      String(this.#relay),
    ];
    const listen = this.addresses[number] ?? '127.0.0.1:0';
    const args = [
      '--ledger',
      'postgres:',
      '--take-over',
      '1s',
      '--keys-file',
      join(this.folder, 'keys'),
    ];
    for (;;) {
      const proxy = appengineMailer(
        this.t,
        ['proxy', '--listen', listen, ...args, ...relay, '--smtp-security', 'none'],
        { cwd: this.folder, env: this.server.environment },
      );
      try {
        const [, address = ''] = await proxy.says(/proxy listens on (\S+),/);
        this.addresses[number] = address;
        this.#proxies[number] = proxy;
        return;
      } catch (error) {
        const { code } = await proxy.ended;
        if (code !== 69 && code !== 75) throw error;
      }
    }
  }

  async stop(): Promise<void> {
    for (const proxy of this.#proxies) {
      proxy.child.kill('SIGCONT');
      const { code, stderr } = await proxy.stop();
      assert.equal(code, 0, stderr);
    }
  }
}

test(
  'law 6, law 7: ten hosts and three proxies with one ledger, in a storm: nothing is lost, and only what is listed as unknown is doubled',
  { ...needs('postgres'), timeout: 7_200_000 },
  async (t) => {
    const choices = random(t);
    const copies = new Map<string, number>();
    const relay = await ScriptedSmtp.start(t, {
      message: (text) => {
        const subject = /^Subject: (\S+)/m.exec(text)?.[1] ?? '';
        copies.set(subject, (copies.get(subject) ?? 0) + 1);
        // Now and then its answer is lost, or the message deferred.
        const chance = choices.below(100);
        if (chance === 0) return 'lost';
        if (chance === 1) copies.set(subject, (copies.get(subject) ?? 0) - 1);
        return chance === 1 ? '451 4.2.2 later' : '250 2.0.0 Ok';
      },
    });
    const cluster = await Cluster.start(t, relay.port);
    const over = new AbortController();
    const rage = cluster.rage(choices, over.signal);
    const counts = { posts: 0, 'answers lost': 0 };
    const began = performance.now();
    const hosts = Array.from({ length: HOSTS }, async (_, host) => {
      for (let number = 0; number < MESSAGES / HOSTS; number += 1) {
        await sendOne(cluster.addresses, host, number, choices, counts);
      }
    });
    await Promise.race([Promise.all(hosts), rage]);
    await Promise.all(hosts);
    over.abort();
    await rage;
    // Proxies that are alive leave nothing begun. One that ends without the database leaves it to the others.
    const begun = async () =>
      cluster.server.query(`SELECT message FROM recipient WHERE state = 'begun'`);
    await until(
      async () => (await begun()).length === 0,
      () => 'a recipient is still begun',
    );
    await cluster.stop();

    const listed = await cluster.server.query<{ message: string; times: number }>(
      'SELECT message, count(*)::integer AS times FROM unknown GROUP BY message',
    );
    const mayDouble = new Map(listed.map(({ message, times }) => [message, times]));
    const names = Array.from({ length: HOSTS }, (_, host) =>
      Array.from({ length: MESSAGES / HOSTS }, (__, number) => nameOf(host, number)),
    ).flat();
    const lost = names.filter((name) => (copies.get(name) ?? 0) < 1);
    const doubled = names.filter((name) => (copies.get(name) ?? 0) > 1);
    const unlisted = doubled.filter(
      (name) => (copies.get(name) ?? 0) > 1 + (mayDouble.get(name) ?? 0),
    );
    figures(t, 'storm, three proxies', {
      ...cluster.struck,
      ...counts,
      seconds: Math.round((performance.now() - began) / 1000),
      lost: lost.length,
      doubled: doubled.length,
      unknown: listed.length,
    });
    assert.deepEqual([lost, unlisted], [[], []]);
    assert.deepEqual(await begun(), []);
  },
);

/** Posts a message to one proxy after another, as drains with several proxies do, until one says that it was sent. */
async function sendOne(
  addresses: readonly string[],
  host: number,
  number: number,
  { below }: Random,
  counts: { posts: number; 'answers lost': number },
): Promise<void> {
  const name = nameOf(host, number);
  const post = {
    key: keyOf(host),
    id: name.split('/')[1] ?? '',
    recipients: [`r${number}@example.org`],
    bytes: `Subject: ${name}\n\nx\n`,
  };
  for (;;) {
    const address = addresses[below(3)] ?? '';
    counts.posts += 1;
    if (below(10) === 0) {
      counts['answers lost'] += 1;
      await postAndHangUp(address, post, below(30));
      continue;
    }
    const answer = await signedPost(address, post).catch(() => undefined);
    if (answer?.status === 200) {
      const { verdicts } = JSON.parse(String(answer.body)) as { verdicts: { status: string }[] };
      if (verdicts[0]?.status.startsWith('2') === true) return;
    }
    assert.ok(
      answer === undefined || [200, 429, 503].includes(answer.status),
      String(answer?.body),
    );
    await sleep(below(200));
  }
}

async function postAndHangUp(
  address: string,
  post: Parameters<typeof encodePost>[0],
  afterMs: number,
): Promise<void> {
  const { headers, body } = encodePost(post);
  const sent = request(`http://${address}/`, { method: 'POST', headers });
  const closed = new Promise((resolve) => {
    sent.on('close', resolve);
  });
  sent.on('error', () => {});
  sent.end(body);
  await sleep(afterMs);
  sent.destroy();
  await closed;
}

function keyOf(host: number): string {
  return `a secret key of the host ${host}`;
}

/** As the ledger has it: KEY/ID. */
function nameOf(host: number, number: number): string {
  return `host${host}/${String(number).padStart(32, '0')}`;
}
