import { rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { smtpBackend } from '../../src/proxy/backends/smtp/smtp-backend.ts';
import { FILES } from '../../src/sqlite/open-files.ts';
import { Deliverer } from '../../src/proxy/deliverer.ts';
import { pruneLedgerLoop } from '../../src/proxy/ledger/prune-ledger-loop.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { Keyring } from '../../src/proxy/policy/keyring.ts';
import { senderPolicy } from '../../src/proxy/policy/sender-policy.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { HttpServer } from '../../src/proxy/http/http-server.ts';
import type { Program } from './program.ts';
import type { SimHost } from './sim-host.ts';
import type { WallClock } from './wall-clock.ts';
import type { World } from './world.ts';

/** A proxy of the world: a ledger, which survives everything, and the program, which does not. */
export class SimProxy {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly relay: string;
  readonly wall: WallClock;
  readonly ledgerFile: string;
  readonly #world: World;
  #program: Program | undefined;
  #hosts: readonly SimHost[] = [];

  constructor(
    world: World,
    name: string,
    { addresses, relay }: { addresses: readonly string[]; relay: string },
  ) {
    this.#world = world;
    this.wall = world.newWallClock();
    this.name = name;
    this.addresses = addresses;
    this.relay = relay;
    this.ledgerFile = `${world.folder}/${name}.db`;
  }

  get program(): Program | undefined {
    return this.#program;
  }

  start(hosts: readonly SimHost[] = this.#hosts): void {
    this.#hosts = hosts;
    if (this.#program) return;
    const world = this.#world;
    const program = world.machineOf(this);
    this.#program = program;
    const { machine } = program;
    const journal = proxyJournal((entry) => program.isAlive && world.told(this, entry));
    let ledger: SqliteLedger;
    try {
      ledger = new SqliteLedger(this.ledgerFile, machine);
    } catch (error) {
      world.log(this.name, `the proxy cannot start: ${String(error)}`);
      this.kill(5000);
      return;
    }
    world.crashable(program, ledger.files, {
      crash: () => {
        if (this.#program === program) this.kill(world.story.restartMs);
      },
      committed: () => {},
    });
    const [host = '', port = ''] = this.relay.split(':');
    const relay = {
      host,
      port: Number(port),
      security: 'none' as const,
      ca: undefined,
      name: this.name,
      auth: undefined,
      connectionsMax: world.story.relayConnections,
    };
    const deliverer = new Deliverer({
      ledger,
      backend: smtpBackend(relay, machine),
      policy: senderPolicy({ allowed: undefined, defaultSender: undefined, fix: false }, journal),
      journal,
      recipientsMax: 100,
    });
    const keys = new Keyring(() => ({
      keys: hosts.map(({ key, name }) => ({ secret: key, name, allowedSenders: undefined })),
      faults: [],
    }));
    const listenOn = async (makeServer: () => Server) => {
      const server = makeServer();
      for (const address of this.addresses) {
        const unlisten = world.network.listen(address, {
          program,
          accept: (socket) => server.emit('connection', socket),
        });
        program.onDeath(unlisten);
      }
      return [{ address: this.addresses.join(), server }];
    };
    void new HttpServer(journal, { clock: machine, listenOn }).start({}, async () => ({
      keys,
      deliverer,
      ledgerId: ledger.id,
    }));
    void pruneLedgerLoop(ledger, journal, new AbortController().signal);
    program.onDeath(() => queueMicrotask(() => ledger.files.close()));
  }

  /** Its ledger disappears with it: what was sent before may be sent again. */
  loseLedger(): void {
    this.kill(1000);
    for (const end of FILES) rmSync(`${this.ledgerFile}${end}`, { force: true });
    this.#world.log(this.name, 'the ledger is gone');
  }

  /** SIGKILL; it starts again after a while. */
  kill(startsAfterMs: number): void {
    this.#world.log(this.name, 'the proxy is killed');
    const program = this.#program;
    this.#program = undefined;
    program?.kill();
    this.#world.time.at(this.#world.time.now + startsAfterMs, () => this.start());
  }
}
