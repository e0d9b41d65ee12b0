import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { processTree } from '../support/process-tree.ts';
import type { Program } from '../support/program.ts';

/** The CPU that a program and its children have used so far, in milliseconds (proc_pid_stat(5)). */
export function cpuMs({ child }: Program): number {
  const processes = processTree(child.pid ?? 0);
  return processes.reduce((sum, { pid }) => sum + processCpuMs(pid), 0);
}

/** The CPU of what a shell has run, in milliseconds, from the output of its `times`: the last line. */
export function cpuMsOfTimes(stdout: Buffer): number {
  const last = String(stdout).trimEnd().split('\n').at(-1) ?? '';
  const times = [...last.matchAll(/(\d+)m([\d.]+)s/g)];
  const [user = NaN, system = NaN] = times.map(([, min, s]) => Number(min) * 60 + Number(s));
  return (user + system) * 1000;
}

function processCpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return (ticks * 1000) / TICKS;
}

const TICKS = Number(execFileSync('getconf', ['CLK_TCK']).toString());
