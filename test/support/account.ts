import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installPipe } from '../../src/bin/install-pipe.ts';
import { inCheckout } from './program.ts';

/** An account without privileges, for what must not run as root. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  /** The launcher of exim-pipe, in a copy that the account can read wherever the checkout is. */
  launcher: string;
  /** Makes a command line one that runs as this account; root may use it. */
  command: (file: string, ...args: string[]) => [string, string[]];
}

/** An account that every Debian has and that has a group of its own name, as the transport wants it. */
export function account(): Account {
  const name = 'daemon';
  const id = (option: string) => Number(spawnSync('id', [option, name]).stdout.toString());
  const [uid, gid] = [id('-u'), id('-g')];
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
  const command = (file: string, ...args: string[]): [string, string[]] => [
    'setpriv',
    [...ids, file, ...args],
  ];
  return { name, uid, gid, command, launcher: (launcher ??= installed()) };
}

let launcher: string | undefined;

function installed(): string {
  const folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-test-'));
  chmodSync(folder, 0o755);
  installPipe(inCheckout('.'), folder);
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'exim-pipe');
}
