import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inCheckout, run } from '../support/program.ts';
import { bsmtp } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { MESSAGE, RECIPIENT, SENDER } from './backlog.ts';
import { cpuMsOfTimes } from './cpu-ms.ts';
import { inBench } from './in-bench.ts';
import { median } from './statistics.ts';

const ROUNDS = 7;
const RUNS = 10;

/** CPU for a message of 4 KB, its launcher included: against `node -e 0`, and in milliseconds; medians of the rounds. */
export interface PipeCpu {
  ratio: number;
  ms: number;
}

export async function pipeCpu(): Promise<PipeCpu> {
  return inBench(async (t) => {
    const folder = scratch(t);
    const spool = join(folder, 'spool');
    const message = join(folder, 'message');
    mkdirSync(spool);
    writeFileSync(message, bsmtp(SENDER, [RECIPIENT], MESSAGE));
    const cpu = async (round: number, ...command: string[]) => {
      // The id is another one each time; the last line of `times` is what the children took.
      const { code, stdout, stderr } = await run(t, '/bin/sh', [
        '-c',
        `file=$1; shift; i=0
        while [ $i -lt ${RUNS} ]; do
          i=$((i + 1)); "$@" "bench-${round}-$i" <"$file" >/dev/null || exit
        done
        times`,
        'sh',
        message,
        ...command,
      ]);
      assert.equal(code, 0, stderr);
      return cpuMsOfTimes(stdout) / RUNS;
    };
    const rounds: PipeCpu[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const bare = await cpu(round, process.execPath, '-e', '0');
      const ms = await cpu(round, inCheckout('exim/exim-pipe'), '--spool', spool);
      rounds.push({ ratio: ms / bare, ms });
    }
    return {
      ratio: median(rounds.map(({ ratio }) => ratio)),
      ms: median(rounds.map(({ ms }) => ms)),
    };
  });
}
