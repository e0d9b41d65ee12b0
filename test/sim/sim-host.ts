import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { drainJournal } from '../../src/drain/drain-journal.ts';
import { drain } from '../../src/drain/drain.ts';
import { SdNotify } from '../../src/host/systemd/sd-notify.ts';
import { store } from '../../src/spool/enqueue.ts';
import { Spool, spoolFile } from '../../src/spool/spool.ts';
import { Bundler } from '../../src/wire/bundler.ts';
import { Connection } from '../../src/wire/connection.ts';
import { postOnceOver } from '../../src/wire/post-once.ts';
import { usualRetryTimes } from '../support/retry-times.ts';
import { CrashError, Program } from './program.ts';
import type { WallClock } from './wall-clock.ts';
import type { World } from './world.ts';

/** A host of the world: a spool, which survives everything, and drain, which does not. */
export class SimHost {
  readonly name: string;
  readonly folder: string;
  readonly key: Buffer;
  readonly wall: WallClock;
  readonly #world: World;
  #program: Program | undefined;
  #wake = () => {};
  #stop = new AbortController();
  /** The spool as others than drain have it open: Exim's pipe, the operator, the checks of the laws. */
  #spool: Spool;
  /** The messages that the backup knows. */
  #backedUp: readonly string[] | undefined;

  constructor(world: World, name: string) {
    this.name = name;
    this.#world = world;
    this.wall = world.newWallClock();
    this.folder = `${world.folder}/${name}`;
    this.key = Buffer.from(`the key of ${name}`);
    mkdirSync(this.folder, { mode: 0o770 });
    new Spool(this.folder, 'drain', world.machineOf(this).machine).close();
    this.#spool = new Spool(this.folder, 'pipe', world.machineOf(this).machine);
  }

  get spool(): Spool {
    return this.#spool;
  }

  get isRunning(): boolean {
    return this.#program !== undefined;
  }

  get program(): Program | undefined {
    return this.#program;
  }

  /** Exim hands a message over. */
  accept(eximId: string, sender: string, recipients: string[], bytes: Buffer): void {
    const digest = createHash('sha256').update(bytes).digest();
    const handOver = { eximId, envelope: { sender, recipients }, pieces: [bytes], digest };
    const id = this.#world.newId();
    store(this.#spool, handOver, this.#spool.now(), id);
    this.#world.laws.accepted({ host: this, eximId, id, sender, recipients });
    this.wake();
  }

  /** Somebody else has committed something. */
  wake(): void {
    this.#program?.after(1, () => this.#wake());
  }

  /** Makes a backup of the spool; the next one takes its place. */
  backUp(): void {
    rmSync(this.#backupFile, { force: true });
    this.#spool.db.prepare('VACUUM INTO ?').run(this.#backupFile);
    this.#backedUp = this.#taken();
    this.#world.log(this.name, 'a backup is made');
  }

  /** Puts the backup into the spool's place while drain is stopped: what was taken since then is gone. */
  restore(): void {
    const known = this.#backedUp;
    if (!known) return;
    this.kill(1000);
    this.#spool.db.close();
    for (const end of ['', '-wal', '-shm'])
      rmSync(`${spoolFile(this.folder)}${end}`, { force: true });
    copyFileSync(this.#backupFile, spoolFile(this.folder));
    this.#spool = new Spool(this.folder, 'pipe', this.#world.machineOf(this).machine);
    this.#world.laws.forgotten(this.#taken().filter((eximId) => !known.includes(eximId)));
    this.#world.log(this.name, 'the backup is restored');
  }

  #taken(): string[] {
    return this.#world.laws.messages
      .filter(({ host }) => host === this)
      .map(({ eximId }) => eximId);
  }

  get #backupFile(): string {
    return `${this.#world.folder}/${this.name}.backup`;
  }

  /** Starts drain, as systemd does. */
  start(): void {
    if (this.#program) return;
    const world = this.#world;
    const program = world.machineOf(this);
    this.#program = program;
    let spool: Spool;
    try {
      spool = new Spool(this.folder, 'drain', program.machine);
    } catch (error) {
      world.log(this.name, `drain cannot start: ${String(error)}`);
      this.#ended(program, 5000);
      return;
    }
    world.crashable(program, spool.files, {
      crash: () => this.#crashed(program),
      committed: () => world.laws.sum(this),
    });
    program.onDeath(() => {
      queueMicrotask(() => spool.db.close());
    });
    const proxies = world.proxyAddresses(this).map((address) => {
      const url = new URL(`http://${address}/`);
      const connection = new Connection({ url, key: this.key }, program.machine);
      const bundler = new Bundler(connection);
      return { connection, postOnce: postOnceOver(connection, 'v2'), bundler };
    });
    this.#stop = new AbortController();
    const options = {
      spool,
      proxies,
      journal: drainJournal((entry) => program.isAlive && world.told(this, entry)),
      notify: new SdNotify({}),
      reports: {
        server: { host: `mail.${this.name}`, port: 25 },
        perHour: world.story.reportsPerHour,
        names: { host: this.name, mail: this.name, unusable: undefined },
        machine: program.machine,
      },
      delayWarningsMs: [4 * 3_600_000, 24 * 3_600_000],
      retryTimes: usualRetryTimes,
      once: false,
      stop: this.#stop.signal,
      watch: (_spool: Spool, changed: () => void) => {
        this.#wake = changed;
        return () => {
          this.#wake = () => {};
        };
      },
    };
    void this.#run(program, spool, drain(options));
  }

  /** Waits until drain has ended, if it lives to that; systemd then starts it again. */
  async #run(program: Program, spool: Spool, running: Promise<unknown>): Promise<void> {
    const error = await running.then(
      () => undefined,
      (failure: Error) => failure,
    );
    if (!program.isAlive || error instanceof CrashError) return;
    if (error !== undefined) this.#world.log(this.name, `drain ended: ${error.message}`);
    if (spool.db.open) spool.close();
    this.#ended(program, error === undefined ? 1000 : 5000);
  }

  /** SIGTERM: drain ends what is in flight. systemd starts it again when it has ended. */
  restart(): void {
    this.#stop.abort();
  }

  /** SIGKILL; it starts again after a while. */
  kill(startsAfterMs: number): void {
    const program = this.#program;
    if (!program) return;
    this.#world.log(this.name, 'drain is killed');
    this.#program = undefined;
    program.kill();
    this.#world.time.at(this.#world.time.now + startsAfterMs, () => this.start());
  }

  #crashed(program: Program): void {
    if (this.#program === program) this.kill(this.#world.story.restartMs);
  }

  #ended(program: Program, startsAfterMs: number): void {
    program.kill();
    if (this.#program !== program) return;
    this.#program = undefined;
    this.#world.time.at(this.#world.time.now + startsAfterMs, () => this.start());
  }
}
