import { exitCodes, CommandError } from '../../host/command-error.ts';
import { findingText, type Finding } from '../../host/finding.ts';
import { print, printJson } from '../print.ts';

/** Whether findings are printed as JSON; an option of every command that checks. */
export const jsonOption = {
  type: 'boolean',
  default: false,
  describe: 'One JSON object a line',
} as const;

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

/** Throws Failure 1 when any finding is a fault. */
export function requireNoFault(findings: readonly Finding[]): void {
  const faults = findings.filter(({ ok }) => ok === false).length;
  if (faults === 0) return;
  const text = faults === 1 ? 'one thing is to be done' : `${faults} things are to be done`;
  throw new CommandError(exitCodes.no, text);
}
