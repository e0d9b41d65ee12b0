import { rmSync } from 'node:fs';
import { inode } from '../open-database.ts';
import { NotRegularFileError, readRegularFile } from '../../host/regular-file.ts';
import { replaceFile } from '../../host/replace-file.ts';

/** What a repair of a database has to tell, as it is kept beside the file until somebody has told it. */
interface Kept {
  /** Of the new file: a repair that was cut off before it put that in place has nothing to tell. */
  inode: number;
  sentences: string[];
}

/**
 * Tells what the repair that made a file found and lost, if nobody has told it yet: a repair may be killed as soon as
 * the new file is in place. Only for who may repair the file. Returns the last sentence, which sums it up;
 * undefined when there was nothing to tell.
 */
export async function tellRepair(
  file: string,
  tell: (sentences: string[]) => void | Promise<void>,
): Promise<string | undefined> {
  const report = read(reportFile(file));
  if (report === undefined) return undefined;
  const { sentences } = report;
  const isOfThisFile = report.inode === inode(file);
  if (isOfThisFile) await tell(sentences);
  rmSync(reportFile(file));
  return isOfThisFile ? sentences.at(-1) : undefined;
}

/**
 * Keeps for tellRepair what is to be told once `next` is put in the place of the file, and what was not told yet of an
 * earlier repair; on disk when this returns.
 */
export function keepReport(file: string, next: string, sentences: readonly string[]): void {
  const earlier = read(reportFile(file));
  const isOfThisFile = earlier !== undefined && earlier.inode === inode(file);
  const untold = isOfThisFile ? earlier.sentences : [];
  const kept = { inode: inode(next), sentences: [...untold, ...sentences] };
  replaceFile(reportFile(file), JSON.stringify(kept));
}

function reportFile(file: string): string {
  return `${file}.repaired`;
}

/** What only has the file's name, or was damaged by a disk that goes on damaging files, tells nothing, and is removed. */
function read(file: string): Kept | undefined {
  try {
    return JSON.parse(readRegularFile(file, true).toString()) as Kept;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    const isNone = error instanceof SyntaxError || error instanceof NotRegularFileError;
    if (isNone) return { inode: NaN, sentences: [] };
    throw error;
  }
}
