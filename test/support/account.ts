import { spawnSync } from 'node:child_process';
import { inCheckout } from './program.ts';

/** An account without privileges, for what must not run as root. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  /** Makes a command line one that runs as this account; root may use it. */
  command: (file: string, ...args: string[]) => [string, string[]];
}

/**
 * An account that every Debian has and that has a group of its own name, as the transport wants it.
 * Fails, saying so, when the account cannot run what this checkout has.
 */
export function account(): Account {
  const name = 'daemon';
  const id = (option: string) => Number(spawnSync('id', [option, name]).stdout.toString());
  const [uid, gid] = [id('-u'), id('-g')];
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
  const command = (file: string, ...args: string[]): [string, string[]] => [
    'setpriv',
    [...ids, file, ...args],
  ];

  const launcher = inCheckout('exim/exim-pipe');
  const look = `fs.accessSync(process.argv[1], fs.constants.R_OK | fs.constants.X_OK)`;
  const { status } = spawnSync(...command(process.execPath, '-e', look, launcher), { cwd: '/' });
  if (status !== 0) {
    throw new Error(
      `the account ${name}, as which the pipe is run, cannot read ${launcher} or run ` +
        `${process.execPath}: put the checkout where everybody may read it`,
    );
  }
  return { name, uid, gid, command };
}
