import { Writable } from 'node:stream';
import { runProgram, type Program } from '../../src/cli/command-line.ts';
import { printingInto } from '../../src/cli/print.ts';
import { printable } from '../../src/mail/printable.ts';
import type { Ended } from './program.ts';

/**
 * Runs a program's command line within this process, as if it had been started: for texts and exit codes, without the
 * half second that Node.js takes to start. Environment and working directory are those of the test. Not for commands that
 * run themselves again (as another account, or to run Exim), open a file of the administrator's, or never end.
 */
export async function inProcess(program: Program, args: readonly string[]): Promise<Ended> {
  const pieces: Buffer[] = [];
  const stdout = new Writable({
    write: (piece: Buffer, _encoding, done) => {
      pieces.push(piece);
      done();
    },
  });
  const { exitCode, complaint } = await printingInto(stdout, () => runProgram(program, args));
  return {
    code: exitCode,
    signal: null,
    stdout: Buffer.concat(pieces),
    stderr: complaint === undefined ? '' : `${printable(complaint)}\n`,
  };
}
