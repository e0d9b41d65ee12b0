/**
 * Plays worlds (test/README.md): `--seed N` one of them with its journals, `--story FILE` one that was kept;
 * otherwise worlds from `--from` on, `--count` of them, until `--seconds` are over, or until it is told to stop. The first
 * that fails is shrunk to a small story, which is printed. Exit code 1 when a law was broken.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { mutations } from './mutations.ts';
import { shrink } from './shrink.ts';
import { inventStory, type Story } from './story.ts';
import { playStory, type Ending } from './world.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    story: { type: 'string' },
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: 'Infinity' },
    seconds: { type: 'string', default: 'Infinity' },
    mutation: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

if (values.mutation !== undefined) {
  const mutation = mutations[values.mutation];
  if (!mutation) throw new Error(`--mutation is one of ${Object.keys(mutations).join(', ')}`);
  mutation.mutate();
}
if (values.seed !== undefined || values.story !== undefined) {
  const story =
    values.story === undefined
      ? inventStory(Number(values.seed))
      : (JSON.parse(readFileSync(values.story, 'utf8')) as Story);
  const ending = await playStory(story, (line) => console.log(line));
  console.log(JSON.stringify(ending));
  process.exit(ending.fault === undefined ? 0 : 1);
}
process.exit((await playWorlds()) ? 0 : 1);

/** Whether all laws were kept. */
async function playWorlds(): Promise<boolean> {
  const until = performance.now() + Number(values.seconds) * 1000;
  const all = { worlds: 0, virtualDays: 0, messages: 0, sent: 0, crashes: 0, kinds: {} };
  let failed: { seed: number; ending: Ending } | undefined;
  const first = Number(values.from);
  for (
    let seed = first;
    seed < first + Number(values.count) && performance.now() < until;
    seed += 1
  ) {
    const story = inventStory(seed);
    const ending = await playStory(story);
    all.worlds += 1;
    all.virtualDays += ending.virtualMs / 86_400_000;
    all.messages += ending.messages;
    all.sent += ending.copies;
    all.crashes += ending.crashes;
    for (const { kind } of story.happenings) count(all.kinds, kind);
    if (ending.fault !== undefined) {
      failed = { seed, ending };
      break;
    }
    if (!values.json && all.worlds % 100 === 0) console.log(summary());
  }
  console.log(
    values.json
      ? JSON.stringify({
          ...all,
          failed: failed && { seed: failed.seed, fault: failed.ending.fault },
        })
      : summary(),
  );
  if (!failed || values.json) return !failed;
  console.log(`world ${failed.seed} breaks a law: ${failed.ending.fault}`);
  const law = lawOf(failed.ending);
  const story = await shrink(inventStory(failed.seed), async (smaller) => {
    return lawOf(await playStory(smaller)) === law;
  });
  console.log('a smaller story that breaks the same one; play it with --story FILE:');
  console.log(JSON.stringify(story, undefined, 2));
  return false;

  function summary(): string {
    const { worlds, virtualDays, messages, sent, crashes } = all;
    const kinds = Object.entries(all.kinds).map(([kind, times]) => `${kind} ${String(times)}`);
    return (
      `${worlds} worlds, ${virtualDays.toFixed(1)} virtual days, ${messages} messages, ` +
      `${sent} sent, ${crashes} crashes; ${kinds.join(', ')}`
    );
  }
}

function count(counts: Record<string, number>, what: string): void {
  counts[what] = (counts[what] ?? 0) + 1;
}

function lawOf({ fault }: Ending): string | undefined {
  return fault?.split(':')[0];
}
