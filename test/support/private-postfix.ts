import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { account } from './account.ts';
import { certificate } from './certificate.ts';
import { POSTFIX } from './needs.ts';
import { Program } from './program.ts';
import { scratch } from './scratch.ts';

/**
 * A Postfix of the test's own, with STARTTLS, that delivers what is for a@ and b@example.org into
 * maildirs. Configuration, queue, log and mail are in a folder of its own. Needs root, because its
 * master does.
 */
export class PrivatePostfix {
  /** On 127.0.0.1. */
  readonly port: number;
  /** The authority of its certificate, which is for localhost and 127.0.0.1. */
  readonly ca: string[];
  readonly #folder: string;

  private constructor(folder: string, port: number, cert: Buffer) {
    this.#folder = folder;
    this.port = port;
    this.ca = [cert.toString()];
  }

  static async start(t: TestContext): Promise<PrivatePostfix> {
    const folder = scratch(t);
    chmodSync(folder, 0o711); // Its programs become the account and pass through it.
    const { cert } = await certificate(t, folder);
    configure(folder);
    const master = join(POSTFIX ?? '', 'usr/lib/postfix/sbin/master');
    // A process group of its own: what ends it, ends the programs that it started.
    const child = spawn(master, ['-c', join(folder, 'etc'), '-d'], {
      env: { PATH: '/usr/bin:/bin:/usr/sbin', LD_LIBRARY_PATH: libraries },
      detached: true,
    });
    const program = new Program(child);
    t.after(async () => program.stop());
    let over = false;
    void program.ended.then(() => (over = true));
    // It says so when all of its sockets listen.
    const log = join(folder, 'log');
    while (!existsSync(log) || !readFileSync(log, 'utf8').includes('daemon started')) {
      if (over) throw new Error(`Postfix does not start: ${(await program.ended).stderr}`);
      await sleep(10);
    }
    return new PrivatePostfix(
      folder,
      await listen(t, join(folder, 'queue', 'public', 'smtpd')),
      cert,
    );
  }

  /** The messages in a mailbox, as Postfix wrote them, once there are so many. */
  async mailbox(name: 'a' | 'b', count: number): Promise<Buffer[]> {
    const folder = join(this.#folder, 'mail', name, 'new');
    for (;;) {
      const files = existsSync(folder) ? readdirSync(folder).toSorted() : [];
      if (files.length >= count) return files.map((file) => readFileSync(join(folder, file)));
      await sleep(10);
    }
  }
}

const libraries = join(POSTFIX ?? '', 'usr/lib/postfix');

/** Postfix cannot choose a free port, so it serves a socket file, and this the port. */
async function listen(t: TestContext, path: string): Promise<number> {
  const server = createServer((socket) => {
    const smtpd = connect(path);
    socket.pipe(smtpd).pipe(socket);
    for (const each of [socket, smtpd]) {
      each.on('error', () => {});
      each.on('close', () => (each === socket ? smtpd : socket).destroy());
    }
    t.after(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function configure(folder: string): void {
  const owner = account();
  for (const name of ['etc', 'data', 'mail', 'queue', 'queue/pid', ...QUEUES]) {
    mkdirSync(join(folder, name), { mode: 0o755 });
    const itself = name === 'etc' || name === 'queue' || name === 'queue/pid';
    if (!itself) chownSync(join(folder, name), owner.uid, owner.gid);
  }
  const main = `
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
message_size_limit = 1000000
message_drop_headers =
smtpd_tls_security_level = may
smtpd_tls_chain_files = ${folder}/localhost.key, ${folder}/localhost.pem
smtpd_recipient_restrictions = check_recipient_access inline:{ { later@example.org = 450 4.2.1 busy } }
virtual_mailbox_domains = example.org
virtual_mailbox_base = ${folder}/mail
virtual_mailbox_maps = inline:{ a@example.org=a/, b@example.org=b/, later@example.org=later/ }
virtual_uid_maps = static:${owner.uid}
virtual_gid_maps = static:${owner.gid}
virtual_minimum_uid = 1
`;
  writeFileSync(join(folder, 'etc', 'main.cf'), main);
  writeFileSync(join(folder, 'etc', 'master.cf'), SERVICES);
}

const QUEUES = ['incoming', 'active', 'deferred', 'bounce', 'defer', 'corrupt', 'hold', 'trace']
  .concat('flush', 'saved', 'maildrop', 'private', 'public')
  .map((name) => `queue/${name}`);

const SERVICES = `
smtpd unix n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr fifo n - n 300 1 qmgr
tlsmgr unix - - n 1000 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
`;
