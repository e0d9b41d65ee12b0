import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import type { Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { signedPost } from '../support/signed-post.ts';

const DAY_SECONDS = 86_400;

/** Two proxies, each on a road of its own, with one ledger in PostgreSQL, before one relay. */
async function twoProxies(t: TestContext, url: string, ...pace: string[]) {
  const smtp = await ScriptedSmtp.start(t);
  const at = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  const options = ['--backend', 'smtp', '--smtp-security', 'none', ...at, ...pace];
  const roads = [new Road(t), new Road(t)] as const;
  const proxies: Program[] = [];
  for (const road of roads) proxies.push(await road.proxy(options, {}, url));
  return { smtp, roads, proxies, options };
}

/** Posts to a road's proxy: what was answered, in brief. */
async function post(road: Road, recipients: readonly string[], subject = 'x'): Promise<string> {
  const bytes = `Subject: ${subject}\n\ntext\n`;
  const { status, headers, body } = await signedPost(road.address, {
    key: road.key,
    recipients,
    bytes,
  });
  if (status !== 200) return `${status} after ${headers['retry-after']} s`;
  const { verdicts } = JSON.parse(body.toString()) as { verdicts: { status: string }[] };
  return verdicts.map((verdict) => verdict.status).join(' ');
}

test('proxies that share a ledger in PostgreSQL', needs('postgres'), async (t) => {
  const server = await PostgresServer.start(t);

  await t.test(
    'give the provider no more than one quota together, and say when it goes on',
    async (inner) => {
      const url = await server.database('day');
      const { smtp, roads, proxies } = await twoProxies(inner, url, '--pace-day', '40');
      // Several clients of each, one post after the other: both proxies change the ledger again and again at the same time.
      const clients = Array.from({ length: 8 }, async (_, client) => {
        const answers: string[] = [];
        for (let each = 0; each < 10; each += 1) {
          answers.push(
            await post(roads[client % 2 === 0 ? 0 : 1], [`r${client}.${each}@example.org`]),
          );
        }
        return answers;
      });
      const answers = (await Promise.all(clients)).flat();
      assert.equal(answers.filter((answer) => answer === '2.0.0').length, 40, answers.join());
      assert.equal(smtp.messages.length, 40);
      for (const answer of answers.filter((each) => each !== '2.0.0')) {
        const seconds = Number(/^429 after (\d+) s$/.exec(answer)?.[1]);
        // A step of the window counts until all of it is a day old.
        assert.ok(seconds > DAY_SECONDS - 30 && seconds <= DAY_SECONDS * 1.01, answer);
      }
      for (const proxy of proxies) {
        assert.equal(
          proxy.stderr.match(/--pace-day 40 is used up: it goes on in 24 h/g)?.length,
          1,
        );
        assert.doesNotMatch(proxy.stderr, /attention: no mail is taken|refused with/);
      }
    },
  );

  await t.test(
    'keep the spending of one that was killed: nothing of it is lost, and none counts twice (law 7)',
    async (inner) => {
      const url = await server.database('killed');
      const { smtp, roads, proxies, options } = await twoProxies(inner, url, '--pace-day', '10');
      const begun = new Promise<void>((resolve) => {
        smtp.script['message'] = (message) => {
          if (!message.includes('Subject: hangs')) return '250 2.0.0 Ok';
          resolve();
          return 'hang';
        };
      });
      const [one, two] = roads;
      const lost = assert.rejects(
        post(one, ['a@example.org', 'b@example.org', 'c@example.org'], 'hangs'),
      );
      await begun;
      await proxies[0]?.stop('SIGKILL');
      await lost;
      const answers: string[] = [];
      for (let each = 0; each < 9; each += 1)
        answers.push(await post(two, [`r${each}@example.org`]));
      assert.deepEqual(answers.slice(0, 7), Array(7).fill('2.0.0'));
      for (const answer of answers.slice(7)) assert.match(answer, /^429 /);
      await one.proxy(options, {}, url);
      assert.match(await post(one, ['r9@example.org']), /^429 /);
      assert.equal(smtp.messages.length, 7);
    },
  );

  await t.test(
    'keep one pace for two hosts, whose mail goes out in its order, without a refusal (law 13)',
    async (inner) => {
      const url = await server.database('second');
      const { smtp, roads, proxies } = await twoProxies(inner, url, '--pace', '10/s');
      for (const [host, road] of roads.entries()) {
        const mails = Array.from({ length: 15 }, (_, each) => ({
          recipients: [`r${each}@host${host}.example`],
        }));
        handIn(road.spool, mails);
      }
      const began = performance.now();
      const drains = roads.map(async (road) => road.drain(['--once']).ended);
      for (const { code, stderr } of await Promise.all(drains)) {
        assert.equal(code, 0, stderr);
        assert.doesNotMatch(stderr, /is down|attention/);
      }
      const seconds = (performance.now() - began) / 1000;
      // Ten at once, and twenty more in two seconds.
      assert.ok(seconds > 2 && seconds < 30, `${seconds} s`);
      assert.equal(smtp.messages.length, 30);
      const sent = smtp.messages.map(
        ({ envelope }) => /<r(\d+)@host(\d)/.exec(envelope[1] ?? '') ?? [],
      );
      for (const host of [0, 1]) {
        const order = sent
          .filter((each) => Number(each[2]) === host)
          .map((each) => Number(each[1]));
        // Posts and connections beside each other may overtake one another, but not by many.
        const overtaken = order.map((number, place) => Math.abs(number - place));
        assert.ok(Math.max(...overtaken) <= 10, order.join());
      }
      for (const proxy of proxies)
        assert.doesNotMatch(proxy.stderr, /attention: no mail is taken|refused with/);
      for (const { spool } of roads)
        assert.equal(lookInto(spool).messages.filter(({ state }) => state !== 'sent').length, 0);
    },
  );
});
