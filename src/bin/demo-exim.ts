import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { installPipe } from './install-pipe.ts';

/** Where the private Exim works, and the checkout that it belongs to. */
export interface DemoPlace {
  folder: string;
  spool: string;
  checkout: string;
}

/**
 * A private Exim for the demonstration: configuration and spool directory of its own, no daemon, no
 * privileges, and the router and transports as they are shipped.
 */
export class DemoExim {
  /** Where the LMTP server is to listen. */
  readonly socket: string;
  readonly #folder: string;

  private constructor(folder: string, socket: string) {
    this.#folder = folder;
    this.socket = socket;
  }

  /** Makes it, or says why it cannot be run here. */
  static make({ folder, spool, checkout }: DemoPlace): DemoExim | string {
    if (spawnSync(EXIM, ['-bV']).status !== 0) return 'exim4 is not installed';
    // Exim drops root for a configuration like this; with its own user as the transport's it still can
    // do everything. Debian has the account mail everywhere, with a group of that name.
    const asRoot = process.geteuid?.() === 0;
    const user = asRoot ? 'mail' : userInfo().username;
    const [uid, gid] = ['passwd', 'group'].map((database) => {
      const { stdout } = spawnSync('getent', [database, user], { encoding: 'utf8' });
      return Number(stdout.split(':')[2]);
    });
    if (!uid || !gid) return `there is no user and group ${user}`;
    // Root works on the spool as its owner.
    const program = join(checkout, 'dist/bin/appengine-mailer.js');
    const reads = spawnSync('cat', [program], { uid, gid, stdio: 'ignore' });
    if (reads.status !== 0)
      return `${user}, as whom Exim would run it, is not let into ${checkout}`;

    chmodSync(folder, 0o755);
    const own = join(folder, 'exim');
    mkdirSync(own);
    if (asRoot) for (const each of [own, spool]) chownSync(each, uid, gid);
    chmodSync(spool, 0o2770);
    const pipe = join(folder, 'exim-pipe');
    const socket = join(own, 'intake.sock');
    const lib = join(folder, 'lib');
    installPipe(checkout, lib);
    // Exim's pipe transport runs with a clean environment: the spool's place goes in as an option.
    writeFileSync(pipe, `#!/bin/sh\nexec '${lib}/exim-pipe' "$@" --spool '${spool}'\n`, {
      mode: 0o755,
    });
    writeFileSync(
      join(folder, 'exim.conf'),
      `spool_directory = ${own}
log_file_path = ${own}/%slog
exim_user = ${user}
exim_group = ${gid}
primary_hostname = demo.example.com
domainlist local_domains = demo.example.com
keep_environment =
DCconfig_smarthost = 1
APPENGINE_MAILER_PIPE = ${pipe}
APPENGINE_MAILER_SOCKET = ${socket}
APPENGINE_MAILER_USER = ${user}
begin routers
.include ${lib}/router
begin transports
.include ${lib}/transport
begin retry
* * F,4d,1m
`,
    );
    return new DemoExim(folder, socket);
  }

  /** Hands a message in as sendmail does, and returns what Exim says of it. */
  async send(sender: string, recipient: string, message: string): Promise<string> {
    const args = ['-C', join(this.#folder, 'exim.conf'), '-odi', '-oi', '-f', sender, recipient];
    const exim = spawn(EXIM, args, { stdio: ['pipe', 'ignore', 'pipe'] });
    let log = '';
    exim.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
    exim.stdin.end(message);
    await once(exim, 'close');
    // Without its privileges Exim logs to standard error.
    return log.split('\n').find((line) => line.includes('queued')) ?? log;
  }
}

const EXIM = '/usr/sbin/exim4';
