import assert from 'node:assert/strict';
import { existsSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { figures, LONG, timeLimit } from './figures.ts';
import { faultLibrary } from './fault-library.ts';
import { needs } from './needs.ts';
import { random } from './random.ts';
import { scratch } from './scratch.ts';

/** What strikes a program; test/crash/fault-at.c says how. */
export type Fault = 'KILL' | 'EIO' | 'ENOSPC';

/** One run of a program, which a fault may strike. */
export interface Step {
  fault: Fault;
  number: number;
  /** A folder of this run's own, which is empty. */
  folder: string;
  /** The environment that lets the fault strike a program at work in this folder. */
  strikes: NodeJS.ProcessEnv;
  /** Adds what a program said to the error with which the run may fail. */
  note: (text: string) => void;
}

/** Makes one run and checks what came of it. Returns what was seen, to be counted. */
export type Attempt = (step: Step) => Promise<Record<string, number | boolean>>;

export interface StruckTest {
  title: string;
  fault: Fault;
  /** The short form tries only every so manieth step, from one that the seed chooses. */
  stride?: number;
  /** Between these, where it matters most, the short form tries every step. */
  closely?: readonly [from: number, to: number];
  /** How often something has to be seen: less proves nothing. */
  atLeast?: Record<string, number>;
}

/**
 * A test in which a fault strikes at the first step of a program, at its second, and so on until there is
 * no step left to strike at, some of these runs at the same time. `prepare` makes what all runs share.
 */
export function everyStep(
  { title, fault, stride: short = 1, closely = [1, 1], atLeast = {} }: StruckTest,
  prepare: (t: TestContext) => Attempt | Promise<Attempt>,
): void {
  const stride = LONG ? 1 : short;
  void test(title, { ...needs('cc'), timeout: timeLimit(290_000) }, async (t) => {
    const base = realpathSync(scratch(t)); // The library compares paths as the kernel has them.
    const library = await faultLibrary(t, base);
    const attempt = await prepare(t);
    const seen = Object.fromEntries(Object.keys(atLeast).map((name) => [name, 0]));
    let [next, runs, through] = [1 + random(t).below(stride), 0, false];
    const inTurn = async () => {
      while (!through) {
        const number = next;
        next = stepAfter(number, stride, closely);
        runs += 1;
        const folder = join(base, `step-${number}`);
        mkdirSync(folder);
        const struck = `${folder}.struck`;
        const notes: string[] = [];
        const strikes = {
          LD_PRELOAD: library,
          FAULT: fault,
          FAULT_FOLDER: folder,
          FAULT_STEP: String(number),
          FAULT_STRUCK: struck,
        };
        const note = (text: string) => void notes.push(text);
        try {
          const counted = await attempt({ fault, number, folder, strikes, note });
          for (const [name, count] of Object.entries(counted)) {
            seen[name] = (seen[name] ?? 0) + Number(count);
          }
        } catch (error) {
          const message = `${fault} at step ${number}: ${String(error)}\n${notes.join('\n')}`;
          throw new Error(message, { cause: error });
        }
        if (!existsSync(struck)) through = true;
      }
    };
    await Promise.all(Array.from({ length: LONG ? 3 : 2 }, inTurn)); // Each goes a step too far.
    figures(t, `${fault}: ${t.name}`, { runs, stride, ...seen });
    for (const [name, least] of Object.entries(atLeast)) {
      assert.ok((seen[name] ?? 0) >= least, `${name} only ${seen[name]} times: nothing is proven`);
    }
  });
}

function stepAfter(step: number, stride: number, [from, to]: readonly [number, number]): number {
  if (step >= from && step < to) return step + 1;
  return step < from ? Math.min(step + stride, from) : step + stride;
}
