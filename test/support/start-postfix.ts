import { spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { account } from './account.ts';
import { POSTFIX } from './needs.ts';
import { Program } from './program.ts';

/** What a Postfix is to do, in the words of its files. */
export interface PostfixConfig {
  /** main.cf, besides where everything is. */
  main: string;
  /** master.cf, besides the log and what rewrites and bounces. */
  services: string;
}

/**
 * Starts a Postfix that has everything in the folder, which its account can pass through, and waits until
 * all of its sockets listen. What is queued there outlives it. Needs root, because its master does.
 */
export async function startPostfix(
  t: TestContext,
  folder: string,
  config: PostfixConfig,
): Promise<Program> {
  configure(folder, config);
  const log = join(folder, 'log');
  rmSync(log, { force: true });
  const master = join(libraries, 'sbin/master');
  // A process group of its own: what ends it, ends the programs that it started.
  const child = spawn(master, ['-c', join(folder, 'etc'), '-d'], {
    env: POSTFIX_ENV,
    detached: true,
  });
  const program = new Program(child);
  t.after(async () => program.stop());
  let over = false;
  void program.ended.then(() => (over = true));
  // It says so when all of its sockets listen.
  while (!existsSync(log) || !readFileSync(log, 'utf8').includes('daemon started')) {
    if (over) throw new Error(`Postfix does not start: ${(await program.ended).stderr}`);
    await sleep(10);
  }
  return program;
}

const libraries = join(POSTFIX ?? '', 'usr/lib/postfix');

/** For the programs of a Postfix that is unpacked and not installed. */
export const POSTFIX_ENV = { PATH: '/usr/bin:/bin:/usr/sbin', LD_LIBRARY_PATH: libraries };

function configure(folder: string, { main, services }: PostfixConfig): void {
  const owner = account();
  for (const name of ['etc', 'data', 'mail', 'queue', 'queue/pid', ...QUEUES]) {
    mkdirSync(join(folder, name), { mode: 0o755, recursive: true });
    const itself = name === 'etc' || name === 'queue' || name === 'queue/pid';
    if (!itself) chownSync(join(folder, name), owner.uid, owner.gid);
  }
  const places = `
compatibility_level = 3.6
queue_directory = ${folder}/queue
data_directory = ${folder}/data
command_directory = ${POSTFIX}/usr/sbin
daemon_directory = ${libraries}/sbin
shlib_directory = ${libraries}
meta_directory = ${folder}/etc
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
maillog_file = ${folder}/log
maillog_file_prefixes = ${folder}
mail_owner = ${owner.name}
setgid_group = games
myhostname = postfix.example
mydestination =
local_recipient_maps =
alias_maps =
`;
  writeFileSync(join(folder, 'etc', 'main.cf'), places + main);
  writeFileSync(join(folder, 'etc', 'master.cf'), SERVICES + services);
}

const QUEUES = ['incoming', 'active', 'deferred', 'bounce', 'defer', 'corrupt', 'hold', 'trace']
  .concat('flush', 'saved', 'maildrop', 'private', 'public')
  .map((name) => `queue/${name}`);

const SERVICES = `
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
tlsmgr unix - - n 1000 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
`;
