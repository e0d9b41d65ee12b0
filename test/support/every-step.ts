import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { figures, LONG } from './figures.ts';
import { faultLibrary } from './fault-library.ts';
import { random } from './random.ts';
import { scratch } from './scratch.ts';

/** What strikes a program; test/crash/fault-at.c says how. */
export type Fault = 'KILL' | 'EIO' | 'ENOSPC';

/** One run of a program, which a fault may strike. */
export interface Step {
  number: number;
  /** A folder of this run's own, not made yet. */
  folder: string;
  /** The environment that lets the fault strike a program at work in this folder. */
  strikes: (folder: string) => NodeJS.ProcessEnv;
}

/**
 * Lets a fault strike at the first step of a program, at its second, and so on until there is no step left
 * to strike at, some of these runs at the same time. `attempt` makes such a run and checks what came of
 * it. With a `stride` the short form tries only every so manieth step, from one that the seed chooses.
 */
export async function everyStep(
  t: TestContext,
  { fault, stride: short = 1 }: { fault: Fault; stride?: number },
  attempt: (step: Step) => Promise<void>,
): Promise<void> {
  const stride = LONG ? 1 : short;
  const base = realpathSync(scratch(t)); // The library compares paths as the kernel has them.
  const library = await faultLibrary(t, base);
  const first = 1 + random(t).below(stride);
  let [runs, through] = [0, false];
  const inTurn = async () => {
    while (!through) {
      const number = first + stride * runs;
      runs += 1;
      const folder = join(base, `step-${number}`);
      const struck = `${folder}.struck`;
      const strikes = (where: string) => ({
        LD_PRELOAD: library,
        FAULT: fault,
        FAULT_FOLDER: where,
        FAULT_STEP: String(number),
        FAULT_STRUCK: struck,
      });
      await attempt({ number, folder, strikes });
      if (!existsSync(struck)) through = true;
    }
  };
  await Promise.all([inTurn(), inTurn(), inTurn()]);
  figures(t, `${fault}: ${t.name}`, { runs, stride });
}
