import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { account } from './account.ts';
import { certificate } from './certificate.ts';
import { run, type Program } from './program.ts';
import { POSTFIX } from './needs.ts';
import { portBefore } from './port-before.ts';
import { scratch } from './scratch.ts';
import { POSTFIX_ENV, startPostfix } from './start-postfix.ts';

/** What a Postfix is to offer. */
interface Offers {
  /** STARTTLS; true unless told otherwise. */
  tls?: boolean;
  /** AUTH, for users with these passwords; they alone may then send. */
  passwords?: Record<string, string>;
}

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
  readonly #t: TestContext;
  readonly #folder: string;
  readonly #master: Program;

  private constructor(t: TestContext, folder: string, master: Program, port: number, cert: Buffer) {
    this.#t = t;
    this.#folder = folder;
    this.#master = master;
    this.port = port;
    this.ca = [cert.toString()];
  }

  static async start(
    t: TestContext,
    { tls = true, passwords }: Offers = {},
  ): Promise<PrivatePostfix> {
    const folder = scratch(t);
    chmodSync(folder, 0o711); // Its programs become the account and pass through it.
    const { cert } = await certificate(t, folder);
    const auth = passwords && (await answerLogins(t, folder, passwords));
    const main = [mainOf(folder), ...(tls ? [] : ['smtpd_tls_security_level = none']), auth];
    const config = { main: `${main.join('\n')}\n`, services: SERVICES };
    const master = await startPostfix(t, folder, config);
    const port = await portBefore(t, join(folder, 'queue', 'public', 'smtpd'));
    return new PrivatePostfix(t, folder, master, port, cert);
  }

  /** Runs commands of an administrator: lines of sh with `postconf`, after which Postfix reads its configuration again. */
  async configure(commands: string): Promise<void> {
    const script = `postconf() { ${this.#command('postconf')} "$@"; }\n${commands}`;
    const { code, stderr } = await run(this.#t, '/bin/sh', ['-ec', script], { env: POSTFIX_ENV });
    if (code !== 0) throw new Error(`postconf: ${stderr}`);
    const reloads = this.#reloads();
    this.#master.child.kill('SIGHUP');
    while (this.#reloads() === reloads) await sleep(10);
  }

  /** Tries all of the queue at once, as `postqueue -f` does: all transports, all times, the deferred queue. */
  async flush(): Promise<void> {
    const words = ['-c', `${this.#command('postkick')} public qmgr FAD`];
    const { code, stderr } = await run(this.#t, '/bin/sh', words, { env: POSTFIX_ENV });
    if (code !== 0) throw new Error(`postkick: ${stderr}`);
  }

  /** What it has logged. */
  log(): string {
    return readFileSync(join(this.#folder, 'log'), 'utf8');
  }

  #command(name: string): string {
    return `${POSTFIX}/usr/sbin/${name} -c ${this.#folder}/etc`;
  }

  #reloads(): number {
    return this.log().split('reload -- version').length;
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

/**
 * Answers Postfix whether a password is right, in the protocol that it speaks with Dovecot (PLAIN alone); returns the lines
 * of main.cf for that.
 */
async function answerLogins(
  t: TestContext,
  folder: string,
  passwords: Record<string, string>,
): Promise<string> {
  const path = join(folder, 'auth');
  const server = createServer((socket) => {
    socket.write('VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0\nDONE\n');
    createInterface(socket).on('line', (line) => {
      const [, id = '', response] = /^AUTH\t(\d+)\t.*\tresp=(.*)$/.exec(line) ?? [];
      if (response === undefined) return;
      const [, user = '', password] = Buffer.from(response, 'base64').toString().split('\0');
      socket.write(`${passwords[user] === password ? 'OK' : 'FAIL'}\t${id}\tuser=${user}\n`);
    });
    socket.on('error', () => {});
    t.after(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  chmodSync(path, 0o666); // For the account of Postfix.
  t.after(() => server.close());
  return `
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = ${path}
smtpd_tls_auth_only = no
smtpd_client_restrictions = permit_sasl_authenticated, reject`;
}

function mainOf(folder: string): string {
  const owner = account();
  return `
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
}

const SERVICES = `
smtpd unix n - n - - smtpd
qmgr fifo n - n 300 1 qmgr
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
`;
