import { countOf } from '../../host/count-of.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { findingText, type Finding } from '../../host/finding.ts';
import { print, printJson } from '../print.ts';

/** Prints each finding when it is known, and returns them all. */
export async function tellFindings(
  findings: AsyncIterable<Finding>,
  json: boolean,
): Promise<Finding[]> {
  const told: Finding[] = [];
  for await (const finding of findings) {
    if (json) await printJson(finding);
    else await print(findingText(finding));
    told.push(finding);
  }
  return told;
}

/** Throws CommandError 1 when any finding is a fault. */
export function requireNoFault(findings: readonly Finding[]): void {
  const faults = findings.filter(({ ok }) => ok === false).length;
  if (faults === 0) return;
  throw new CommandError(exitCodes.no, `${countOf(faults, 'problem')} found`);
}
