import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { installPipe } from '../../src/bin/install-pipe.ts';
import { replaceFile } from '../../src/host/replace-file.ts';
import { bundledProgram, inCheckout, run, start, type Ended, type Program } from './program.ts';
import { readSpool, type Spooled } from './read-spool.ts';
import { scratch } from './scratch.ts';

/** An Exim of Debian as an administrator may have set it up. */
export interface DebianSetting {
  /** dc_eximconfig_configtype. */
  type?: string;
  split?: boolean;
  /** Further lines of update-exim4.conf.conf; the last one of a name counts. */
  settings?: string;
}

/** How `appengine-mailer` ended, and what it printed. */
export interface Said {
  code: number | null;
  said: string;
}

/**
 * This machine's Exim, with /etc/exim4 and all, in a root of the test's own: what is written there is in
 * memory, over this machine's files, and gone with the test. Has the account, the pipe and the spool as
 * the package makes them. `appengine-mailer` is that of the checkout.
 */
export class DebianExim {
  readonly t: TestContext;
  /** What /var/spool/appengine-mailer is in that root, where the test can open it. */
  readonly spool: string;
  readonly #root: string;
  readonly #keeper: Program;

  private constructor(t: TestContext, folder: string, keeper: Program) {
    this.t = t;
    this.spool = join(folder, 'spool');
    this.#root = join(folder, 'memory', 'root');
    this.#keeper = keeper;
  }

  static async make(
    t: TestContext,
    { type = 'smarthost', split = false, settings = '' }: DebianSetting = {},
  ): Promise<DebianExim> {
    const folder = scratch(t);
    const spool = join(folder, 'spool');
    mkdirSync(spool);
    chownSync(spool, ID, ID);
    chmodSync(spool, 0o2770);
    const args = ['-m', '--propagation', 'unchanged', '/bin/sh', '-ec', MOUNT, 'sh'];
    const keeper = start(t, 'unshare', [...args, folder, inCheckout('.')]);
    await keeper.says(/^mounted$/m);
    const exim = new DebianExim(t, folder, keeper);

    exim.append('/etc/passwd', `${ACCOUNT}:x:${ID}:${ID}::/nonexistent:/usr/sbin/nologin\n`);
    exim.append('/etc/group', `${ACCOUNT}:x:${ID}:\n`);
    installPipe(inCheckout('.'), exim.path('/usr/lib/appengine-mailer'));
    const lines = [
      `dc_eximconfig_configtype='${type}'`,
      "dc_smarthost='smarthost.invalid'",
      "dc_other_hostnames='host.example'",
      `dc_use_split_config='${split}'`,
      `CFILEMODE='644'`,
      settings,
    ];
    exim.write('/etc/exim4/update-exim4.conf.conf', `${lines.join('\n')}\n`);
    exim.write('/etc/mailname', 'host.example\n');
    await exim.succeeds('update-exim4.conf');
    return exim;
  }

  /** A file of this root, as the test can reach it. */
  path(file: string): string {
    return join(`/proc/${this.#keeper.child.pid}/root`, this.#root, file);
  }

  write(file: string, text: string): void {
    mkdirSync(dirname(this.path(file)), { recursive: true });
    replaceFile(this.path(file), text);
  }

  append(file: string, text: string): void {
    appendFileSync(this.path(file), text);
  }

  read(file: string): string | undefined {
    const path = this.path(file);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }

  remove(file: string): void {
    rmSync(this.path(file), { recursive: true });
  }

  /** Starts a program in this root. */
  start(file: string, args: readonly string[], options: Parameters<typeof start>[3] = {}): Program {
    return start(this.t, 'nsenter', this.#inside(file, args), options);
  }

  /** Runs a program in this root to its end. */
  async run(file: string, ...args: string[]): Promise<Ended> {
    return run(this.t, 'nsenter', this.#inside(file, args));
  }

  /** Runs a program that must succeed, and returns what it prints. */
  async succeeds(file: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(file, ...args);
    if (code !== 0)
      throw new Error(`${file} ${args.join(' ')}: ${code} ${stdout.toString()}${stderr}`);
    return stdout.toString();
  }

  /** Runs `appengine-mailer ARGS…` in this root, through the program `by` if one is given, to its end. */
  async appengineMailer(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    by: readonly string[] = [],
  ): Promise<Said> {
    const words = [...by, process.execPath, bundledProgram, ...args];
    const started = this.start('env', words, { env, input: '' });
    const { code, stdout, stderr } = await started.ended;
    return { code, said: `${stdout.toString()}${stderr}` };
  }

  /** Runs `appengine-mailer exim ARGS…`, which must succeed. */
  async switch(...args: string[]): Promise<string> {
    const { code, said } = await this.appengineMailer(['exim', ...args]);
    if (code !== 0) throw new Error(`exim ${args.join(' ')}: ${code} ${said}`);
    return said;
  }

  /** Starts the LMTP server where Exim looks for it, as its account, and with the rights that systemd gives the socket. */
  async intake(): Promise<Program> {
    const folder = ['-d', '-o', ACCOUNT, '-g', 'Debian-exim', '-m', '2755', dirname(SOCKET)];
    await this.succeeds('install', ...folder);
    const ids = [`--reuid=${ID}`, `--regid=${ID}`, '--clear-groups', '--'];
    const intake = this.start('setpriv', [...ids, process.execPath, bundledProgram, 'intake']);
    await intake.says(/takes mail on/);
    return intake;
  }

  /** Gives Exim a message as sendmail(8) does, and waits until it has been tried. */
  async send(sender: string, recipients: readonly string[], message = MESSAGE): Promise<void> {
    const args = ['-odi', '-oi', '-f', sender, '--', ...recipients];
    const { code, stderr } = await this.start('/usr/sbin/sendmail', args, { input: message }).ended;
    if (code !== 0) throw new Error(`sendmail: ${code} ${stderr}`);
  }

  /** What the spool holds. */
  spooled(): Spooled[] {
    return readSpool(this.spool);
  }

  /** How many messages are in Exim's queue. */
  async queued(): Promise<number> {
    return Number(await this.succeeds('exim4', '-bpc'));
  }

  /** Everything that says how Exim is configured: each file with its mode, owner and content. */
  async configuration(): Promise<string> {
    const folders = '/etc/exim4 /var/lib/exim4 /var/lib/appengine-mailer';
    const find = `find ${folders} -type f -printf '%p %m %U:%G\\n' -exec sha256sum {} + 2>&1`;
    return this.succeeds('sh', '-c', `mkdir -p ${folders}; ${find} | sort`);
  }

  /** Exim's configuration in force. */
  get generated(): string {
    return this.read('/var/lib/exim4/config.autogenerated') ?? '';
  }

  /** The lines of Exim's main log, without their times. */
  mainlog(): string[] {
    const lines = (this.read('/var/log/exim4/mainlog') ?? '').split('\n').slice(0, -1);
    return lines.map((line) => line.replace(/^\S+ \S+ /, ''));
  }

  #inside(file: string, args: readonly string[]): string[] {
    return ['-m', '-t', `${this.#keeper.child.pid}`, '--', 'chroot', this.#root, file, ...args];
  }
}

/** Where Exim looks for the LMTP server. */
export const SOCKET = '/run/appengine-mailer/intake.sock';
const MESSAGE = 'Subject: test\n\ntest\n';
const ACCOUNT = 'appengine-mailer';
const ID = 64_990;

/** Where the root is no mount point (in a chroot) it cannot be made private, and need not be. */
const MOUNT = `
mount --make-rprivate / 2>/dev/null || true
root="$1/memory/root"
mkdir "$1/memory"
mount -t tmpfs -o mode=755 tmpfs "$1/memory"
mkdir "$1/memory/upper" "$1/memory/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$1/memory/upper,workdir=$1/memory/work" overlay "$root"
for folder in /proc /dev /tmp "$2"; do
  mkdir -p "$root$folder"
  mount --rbind "$folder" "$root$folder"
done
mkdir "$root/var/spool/appengine-mailer"
mount --bind "$1/spool" "$root/var/spool/appengine-mailer"
rm -rf "$root/var/spool/exim4"/* "$root/var/log/exim4"/* "$root/etc/exim4/exim4.conf.localmacros"
echo mounted >&2
exec cat`;
