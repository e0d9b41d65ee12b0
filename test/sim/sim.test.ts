import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import test from 'node:test';
import { figures, LONG, timeLimit } from '../support/figures.ts';
import { inCheckout } from '../support/program.ts';
import { mutations } from './mutations.ts';
import { faultKinds, inventStory, type Story } from './story.ts';
import { playStory } from './world.ts';

/** What `main.ts --json` says. */
interface Played {
  worlds: number;
  virtualDays: number;
  messages: number;
  sent: number;
  crashes: number;
  kinds: Record<string, number>;
  failed?: { seed: number; fault: string };
}

/** Processes that play worlds at the same time. */
const PROCESSES = 2;
const WORLDS = 500;

test(
  'in every world all laws are kept (law 5, law 6, law 7, law 8, law 9, law 12, law 13)',
  { timeout: timeLimit(600_000) },
  async (t) => {
    const each = LONG ? ['--seconds', '3600'] : ['--count', String(WORLDS / PROCESSES)];
    const all = await Promise.all(
      Array.from({ length: PROCESSES }, async (_, process) =>
        play('--from', String(1 + process * 1_000_000), ...each),
      ),
    );
    const sum = (of: (played: Played) => number) => all.reduce((total, one) => total + of(one), 0);
    figures(t, 'worlds', {
      worlds: sum(({ worlds }) => worlds),
      'virtual days': Math.round(sum(({ virtualDays }) => virtualDays)),
      messages: sum(({ messages }) => messages),
      'recipients sent': sum(({ sent }) => sent),
      crashes: sum(({ crashes }) => crashes),
      ...Object.fromEntries(faultKinds.map((kind) => [kind, sum(({ kinds }) => kinds[kind] ?? 0)])),
    });
    assert.deepEqual(
      all.map(({ failed }) => failed),
      [undefined, undefined],
      'npm run sim -- --seed N plays it',
    );
    for (const kind of faultKinds) {
      assert.ok(
        all.some(({ kinds }) => (kinds[kind] ?? 0) > 0),
        kind,
      );
    }
  },
);

for (const [name, { breaks }] of Object.entries(mutations)) {
  test(`worlds find the mutation "${name}"`, { timeout: 600_000 }, async () => {
    const { failed } = await play('--mutation', name, '--count', '200');
    assert.match(failed?.fault ?? 'none of 200 worlds failed', breaks);
  });
}

test('the same seed makes the same world, to the letter', async () => {
  assert.deepEqual(await linesOf(4), await linesOf(4));
});

/** What happens in a world, but for the names of its folder. */
async function linesOf(seed: number): Promise<string[]> {
  const said: string[] = [];
  await playStory(inventStory(seed), (line) => said.push(line.replace(/\/dev\/shm\/\S*?\//g, '')));
  return said;
}

const found = inCheckout('test/sim/found');
for (const file of readdirSync(found)) {
  test(`found by a simulated world, and set right: ${file.replace('.json', '')}`, async () => {
    const story = JSON.parse(readFileSync(`${found}/${file}`, 'utf8')) as Story;
    assert.equal((await playStory(story)).fault, undefined);
  });
}

/** Plays worlds in a process of their own. */
async function play(...args: string[]): Promise<Played> {
  const main = inCheckout('test/sim/main.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', main, '--json', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return JSON.parse(said) as Played;
}
