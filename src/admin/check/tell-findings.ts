import { exitCodes, Failure } from '../../host/failure.ts';
import { findingText, type Finding } from '../../host/finding.ts';
import { print, printJson } from '../print.ts';

/** Whether findings are printed as JSON; an option of every command that checks. */
export const jsonOption = {
  type: 'boolean',
  default: false,
  describe: 'One JSON object a line',
} as const;

/** Prints each finding when it is known. Throws Failure 1 in the end when any is a fault. */
export async function tellFindings(findings: AsyncIterable<Finding>, json: boolean): Promise<void> {
  let faults = 0;
  for await (const finding of findings) {
    await tellFinding(finding, json);
    if (finding.ok === false) faults += 1;
  }
  if (faults === 0) return;
  const text = faults === 1 ? 'one thing is to be done' : `${faults} things are to be done`;
  throw new Failure(exitCodes.no, text);
}

/** Prints one finding. */
export async function tellFinding(finding: Finding, json: boolean): Promise<void> {
  if (json) await printJson(finding);
  else await print(findingText(finding));
}
