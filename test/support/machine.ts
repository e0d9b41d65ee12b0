import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { debianRoot, type Release } from './debian-root.ts';
import { processTree } from './process-tree.ts';
import { inCheckout } from './program.ts';
import { until } from './until.ts';

/**
 * A Debian machine that the test boots with systemd-nspawn: real systemd, Exim and journal, a network
 * of its own with loopback only. Its disk is an overlay over a root that all tests share. When the test
 * fails, its journal, Exim's log and the queue are kept, and their path is printed.
 */
export class Machine {
  readonly folder: string;
  readonly root: string;
  #nspawn: ChildProcess | undefined;
  #cgroups: readonly string[] = [];

  private constructor(folder: string) {
    this.folder = folder;
    this.root = join(folder, 'root');
  }

  /** Boots a machine; `prepare` does with its root what must be there before. */
  static async boot(
    t: TestContext,
    { release = 'trixie', prepare }: { release?: Release; prepare?: (root: string) => void } = {},
  ): Promise<Machine> {
    const machine = new Machine(inCheckout(`build/machines/${t.name.replace(/\W+/g, '-')}`));
    const { folder, root } = machine;
    rmSync(folder, { recursive: true, force: true });
    for (const name of ['root', 'upper', 'work'])
      mkdirSync(join(folder, name), { recursive: true });
    const lower = debianRoot(release);
    const layers = `lowerdir=${lower},upperdir=${folder}/upper,workdir=${folder}/work`;
    must('mount', '-t', 'overlay', 'overlay', '-o', layers, root);
    t.after(() => machine.#end(t));
    prepare?.(root);
    await machine.start();
    return machine;
  }

  /** Starts the machine, again after `crash`, and waits until it is up. */
  async start(): Promise<void> {
    const log = openSync(join(this.folder, 'console.log'), 'a');
    const options = ['--register=no', '--keep-unit', '--private-network', '--quiet'];
    const name = `machine-${process.pid}-${(started += 1)}`;
    this.#cgroups = cgroupRoots().map((root) => join(root, name));
    const nspawn = [
      'setpriv',
      '--pdeathsig',
      'KILL',
      'systemd-nspawn',
      '-D',
      this.root,
      '-M',
      name,
    ];
    this.#nspawn = spawn(
      'sh',
      ['-ec', JOIN_CGROUPS, this.#cgroups.join(' '), ...nspawn, '-b', ...options],
      {
        env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
        stdio: ['ignore', log, log],
        detached: true,
      },
    );
    await this.#isUp();
  }

  /** Runs a command line of the shell in the machine, as root; fails when it fails. Returns its output. */
  async sh(script: string, { input = '' }: { input?: string | Buffer } = {}): Promise<string> {
    const { code, output } = await this.try(script, { input });
    if (code !== 0) throw new Error(`in the machine, exit ${code}: ${script}\n${output}`);
    return output;
  }

  /** Runs a command line that may fail; its output is both streams. */
  async try(
    script: string,
    { input = '' }: { input?: string | Buffer } = {},
  ): Promise<{ code: number; output: string }> {
    const inside = ['-t', String(this.#init()), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w'];
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    const environment = ['env', '-i', path, 'HOME=/root', 'LANG=C.UTF-8', 'TERM=dumb'];
    const shell = ['sh', '-c', `exec 2>&1; ${script}`];
    const child = spawn('nsenter', [...inside, ...environment, ...shell]);
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stdin.on('error', () => {}); // A command that does not read its input is no fault.
    child.stdin.end(input);
    const [code] = (await once(child, 'close')) as [number | null];
    return { code: code ?? 255, output: Buffer.concat(output).toString() };
  }

  /** Waits until a command line exits 0; its output is then returned. */
  async until(script: string, seconds = 60): Promise<string> {
    let last = { code: 0, output: '' };
    await until(
      async () => (last = await this.try(script)).code === 0,
      () => `in the machine, never 0: ${script}\n${last.output}`,
      seconds,
    );
    return last.output;
  }

  /** Puts a file of the checkout's side into the machine's /root; returns its path there. */
  put(file: string, name = basename(file)): string {
    cpSync(file, join(this.root, 'root', name));
    return `/root/${name}`;
  }

  /** Writes a file in the machine. */
  write(path: string, text: string, mode = 0o644): void {
    writeFileSync(join(this.root, path), text, { mode });
  }

  /** Reads a file in the machine. */
  read(path: string): Buffer {
    return readFileSync(join(this.root, path));
  }

  /** Restarts the machine in the orderly way. */
  async reboot(): Promise<void> {
    await this.#powerOff();
    await this.start();
  }

  /** Kills every process at once, as a crash of the machine would. */
  async crash(): Promise<void> {
    process.kill(this.#init(), 'SIGKILL');
    await this.#gone();
  }

  async #powerOff(): Promise<void> {
    // systemd(1): SIGRTMIN+4 is poweroff.target; node cannot send real-time signals.
    must('kill', '-s', 'RTMIN+4', String(this.#init()));
    await this.#gone();
  }

  async #gone(): Promise<void> {
    if (this.#nspawn?.exitCode === null && this.#nspawn.signalCode === null) {
      await once(this.#nspawn, 'exit');
    }
    this.#nspawn = undefined;
    for (const folder of this.#cgroups)
      spawnSync('find', [folder, '-depth', '-type', 'd', '-delete']);
  }

  async #isUp(): Promise<void> {
    const system = async () => {
      if (this.#nspawn?.exitCode !== null) throw new Error(this.#console());
      const { output } = this.#findInit()
        ? await this.try('systemctl is-system-running --wait')
        : { output: '' };
      return /^(?:running|degraded)$/m.test(output);
    };
    await until(system, () => `the machine does not come up: ${this.#console()}`, 90);
  }

  #console(): string {
    return readFileSync(join(this.folder, 'console.log'), 'utf8').slice(-4000);
  }

  #init(): number {
    const pid = this.#findInit();
    if (!pid) throw new Error(`the machine does not run: ${this.#console()}`);
    return pid;
  }

  #findInit(): number | undefined {
    const { pid } = this.#nspawn ?? {};
    return pid === undefined
      ? undefined
      : processTree(pid).find(({ name }) => name === 'systemd')?.pid;
  }

  async #end(t: TestContext): Promise<void> {
    const { passed } = t as TestContext & { passed?: boolean };
    if (!passed && this.#findInit()) {
      const logs = {
        'journal.log': 'journalctl --no-pager -o short-precise',
        'appengine-mailer.log': 'journalctl --no-pager -o verbose -t appengine-mailer',
        'exim.log': 'cat /var/log/exim4/mainlog*',
        'queue.log': 'appengine-mailer queue --state all; appengine-mailer queue stats; exim4 -bp',
      };
      for (const [name, script] of Object.entries(logs)) {
        writeFileSync(join(this.folder, name), (await this.try(script)).output);
      }
    }
    if (!passed) t.diagnostic(`kept for a look: ${this.folder}`);
    if (this.#findInit()) await this.crash();
    must('umount', '--lazy', this.root);
    if (passed) rmSync(this.folder, { recursive: true, force: true });
  }
}

let started = 0;

/** systemd-nspawn makes its machine's control groups below its own: two machines must not share them. */
const JOIN_CGROUPS =
  'for folder in $0; do mkdir "$folder"; echo $$ >"$folder/cgroup.procs"; done; exec "$@"';

/** Where the control groups are that systemd uses: of version 2, and of version 1 its own hierarchy. */
function cgroupRoots(): string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts
    .map((line) => line.split(' '))
    .filter(([, , type, options = '']) => type === 'cgroup2' || options.includes('name=systemd'))
    .map(([, folder = '']) => folder);
}

function must(file: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(file, args);
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr.toString()}`);
}
