import { readFileSync } from 'node:fs';

/** A process and all that descend from it, each with the name of what it runs. */
export function processTree(pid: number): { pid: number; name: string }[] {
  try {
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').match(/\d+/g) ?? [];
    return [{ pid, name }, ...children.flatMap((child) => processTree(Number(child)))];
  } catch {
    return []; // It has ended.
  }
}
