import { spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { JmapAccount } from '../../src/proxy/backends/jmap/jmap-options.ts';
import { account } from './account.ts';
import { CYRUS } from './needs.ts';
import { portBefore } from './port-before.ts';
import { Program } from './program.ts';
import { scratch } from './scratch.ts';
import { ScriptedSmtp } from './scripted-smtp.ts';
import { until } from './until.ts';

/**
 * A Cyrus IMAP of the test's own that serves JMAP to one user, and sends by a scripted SMTP server. All its files are in
 * a folder of its own. Needs root, to become the account that it runs as.
 */
export class PrivateCyrus {
  readonly smtp: ScriptedSmtp;
  /** The session resource. */
  readonly url: URL;
  readonly #folder: string;

  private constructor(smtp: ScriptedSmtp, port: number, folder: string) {
    this.smtp = smtp;
    this.url = new URL(`http://127.0.0.1:${port}/jmap/`);
    this.#folder = folder;
  }

  static async start(t: TestContext): Promise<PrivateCyrus> {
    const folder = scratch(t);
    const owner = account();
    const names = ['db', 'lock', 'log', 'msg', 'proc', 'sieve', 'socket'];
    for (const name of ['', 'spool', 'conf', ...names.map((each) => `conf/${each}`)]) {
      mkdirSync(join(folder, name), { recursive: true });
      chownSync(join(folder, name), owner.uid, owner.gid);
    }
    const smtp = await ScriptedSmtp.start(t, {
      EHLO: '250-relay.example\n250-8BITMIME\n250-SMTPUTF8\n250 ENHANCEDSTATUSCODES',
    });
    await answerLogins(t, join(folder, 'mux'));
    const [settings, services] = [join(folder, 'imapd.conf'), join(folder, 'cyrus.conf')];
    writeFileSync(settings, settingsOf(folder, owner.name, smtp.port));
    const [http, imap] = [join(folder, 'http'), join(folder, 'imap')];
    const service = (name: string, socket: string) =>
      `${name} cmd="${PROGRAMS}/${name}d -C ${settings}" listen="${socket}" prefork=1`;
    writeFileSync(services, `SERVICES {\n${service('http', http)}\n${service('imap', imap)}\n}\n`);
    const files = ['-C', settings, '-M', services, '-p', join(folder, 'conf', 'pid'), '-D'];
    const [command, args] = owner.command(`${PROGRAMS}/master`, ...files);
    // A process group of its own: what ends it, ends the programs that it started.
    const env = { PATH: '/usr/bin:/bin', LD_LIBRARY_PATH: libraries(), CYRUS_USER: owner.name };
    const master = new Program(spawn(command, args, { env, detached: true }));
    t.after(async () => master.stop());
    const hasStarted = () => existsSync(http) && existsSync(imap);
    await until(hasStarted, () => `Cyrus does not start: ${master.stderr}`, 30);
    await makeMailboxes(imap);
    return new PrivateCyrus(smtp, await portBefore(t, http), folder);
  }

  get account(): JmapAccount {
    const { url } = this;
    return { url, authorization: `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}` };
  }

  /** What a proxy is started with to send there. */
  get options(): string[] {
    return ['--backend', 'jmap', '--jmap-url', String(this.url), '--jmap-user', USER];
  }

  get environment(): Record<string, string> {
    return { JMAP_PASSWORD: PASSWORD };
  }

  /** How many emails are in the mailboxes of the user. */
  get emails(): number {
    const files = readdirSync(join(this.#folder, 'spool'), { recursive: true });
    return files.filter((file) => /\/\d+\.$/.test(String(file))).length;
  }
}

const USER = 'user';
const PASSWORD = 'password-EXAMPLE';
const PROGRAMS = join(CYRUS, 'usr/lib/cyrus/bin');

/** The folders with the libraries of a Cyrus that is unpacked and not installed. */
function libraries(): string {
  const names = readdirSync(join(CYRUS, 'usr/lib')).filter((name) => name.endsWith('-linux-gnu'));
  return names.map((name) => join(CYRUS, 'usr/lib', name)).join(':');
}

/** Logs in by IMAP, at which Cyrus makes the mailboxes of a new user. */
async function makeMailboxes(path: string): Promise<void> {
  const socket = connect(path);
  socket.end(`a LOGIN ${USER} ${PASSWORD}\r\nb LOGOUT\r\n`);
  const said = (await socket.toArray()).join('');
  if (!/^a OK/m.test(said)) throw new Error(`Cyrus lets nobody log in: ${said}`);
}

/** Answers Cyrus whether a password is right, as saslauthd does: four counted texts, the first two of them user and password. */
async function answerLogins(t: TestContext, path: string): Promise<void> {
  const server = createServer((socket) => {
    let asked = Buffer.alloc(0);
    socket.on('data', (piece: Buffer) => {
      asked = Buffer.concat([asked, piece]);
      const texts: string[] = [];
      for (let at = 0; at + 2 <= asked.length;) {
        const end = at + 2 + asked.readUInt16BE(at);
        if (end > asked.length) return;
        texts.push(asked.toString('latin1', at + 2, end));
        at = end;
      }
      if (texts.length < 4) return;
      const isRight = texts[0] === USER && texts[1] === PASSWORD;
      socket.end(`\0\x02${isRight ? 'OK' : 'NO'}`);
    });
    socket.on('error', () => {});
    t.after(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  chmodSync(path, 0o666); // For the account of Cyrus.
  t.after(() => server.close());
}

function settingsOf(folder: string, owner: string, smtpPort: number): string {
  return `
configdirectory: ${folder}/conf
partition-default: ${folder}/spool
defaultpartition: default
sievedir: ${folder}/conf/sieve
idlesocket: ${folder}/conf/socket/idle
lmtpsocket: ${folder}/conf/socket/lmtp
cyrus_user: ${owner}
servername: cyrus.example
virtdomains: off
altnamespace: yes
conversations: yes
munge8bit: no
httpmodules: jmap
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: ${folder}/mux
smtp_backend: host
smtp_host: 127.0.0.1:${smtpPort}
autocreate_quota: 0
autocreate_post: yes
autocreate_inbox_folders: Drafts|Sent
xlist-drafts: Drafts
xlist-sent: Sent
search_engine: none
`;
}
