import { exitCodes, CommandError } from '../host/command-error.ts';
import { tellRepair } from '../sqlite/recover/repair-report.ts';
import { print, printed } from './print.ts';

/** Repairs a file and tells what came of it, and of an earlier repair that was killed before it told. Throws CommandError. */
export async function tellRebuilt(
  file: string,
  rebuild: () => unknown,
  nothing: string,
): Promise<void> {
  const earlier = await tellRepair(file, printAllButSummary);
  await rebuild();
  const summary = (await tellRepair(file, printAllButSummary)) ?? earlier;
  if (summary !== undefined) throw new CommandError(exitCodes.no, summary);
  await print(nothing);
}

/** What has left the process needs to be told no more. */
async function printAllButSummary(sentences: readonly string[]): Promise<void> {
  await print(sentences.slice(0, -1));
  await printed();
}
