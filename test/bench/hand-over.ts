import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { account } from '../support/account.ts';
import { PrivateExim } from '../support/private-exim.ts';
import { run } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { MESSAGE, RECIPIENT, seconds, SENDER } from './backlog.ts';
import { cpuMs } from './cpu-ms.ts';
import { inBench } from './in-bench.ts';
import { median } from './statistics.ts';
import { SmtpSink } from './smtp-sink.ts';

const ROUNDS = 7;
const QUEUED = 80;
/** Before the time counts: Exim makes its folders. */
const WARM = 10;

/** An Exim whose transport is chosen by a name, with its queue, log and configuration in a folder. */
class BenchExim {
  readonly #t: TestContext;
  readonly #config: string;

  constructor(
    t: TestContext,
    { folder, transport, transports }: { folder: string; transport: string; transports: string },
  ) {
    this.#t = t;
    this.#config = join(folder, `config-${transport}`);
    writeFileSync(
      this.#config,
      `
APPENGINE_MAILER_PIPE = ${join(folder, 'exim', 'exim-pipe')}
APPENGINE_MAILER_SOCKET = ${join(folder, 'exim', 'lmtp', 'intake.sock')}
APPENGINE_MAILER_USER = ${account().name}
spool_directory = ${join(folder, transport)}
log_file_path = ${join(folder, transport, 'log', '%slog')}
primary_hostname = host.example
trusted_users = root
keep_environment =
never_users =
begin routers
all:
  driver = ${transport === 'smarthost' ? 'manualroute\n  route_list = * 127.0.0.1\n  self = send' : 'accept'}
  transport = ${transport}
begin transports
.include ${join(dirname(account().launcher), 'transport')}
${transports}
begin retry
* * F,1h,1m
`,
    );
  }

  async exim(args: readonly string[], input: Buffer | string = ''): Promise<void> {
    const { code, stderr } = await run(this.#t, EXIM, ['-C', this.#config, ...args], { input });
    assert.equal(code, 0, stderr);
  }

  /** Queues so many messages; returns how many seconds runs over the queue take, so many at once. */
  async run(count: number, runners = 1): Promise<number> {
    const message = bsmtp(SENDER, [RECIPIENT], MESSAGE);
    await this.exim(['-odq', '-bS'], Buffer.concat(Array.from({ length: count }, () => message)));
    const each = Array.from({ length: runners });
    return seconds(async () => Promise.all(each.map(async () => this.exim(['-q']))));
  }

  /** Hands messages to sendmail, one process each, four at a time; Exim delivers them in the background. */
  async burst(count: number, message: string): Promise<void> {
    const send = `"$0" -C "$1" -odb -oi -f ${SENDER} ${RECIPIENT} <"$2"`;
    const script = `seq "$3" | xargs -P 4 -I N /bin/sh -c '${send}' "$0" "$1" "$2"`;
    const args = ['-c', script, EXIM, this.#config, message, String(count)];
    const { code, stderr } = await run(this.#t, '/bin/sh', args);
    assert.equal(code, 0, stderr);
  }
}

/** How Exim hands over to the LMTP server. The rates are in messages a second, and medians of the rounds. */
export interface HandOverFigures {
  /** Against a pipe to /bin/cat, which keeps nothing: with one run of the queue, and with four at once. */
  toCat: number;
  fourToCat: number;
  /** Against a pipe to dd, which writes the message into a file and syncs it: the server has to do that, too. */
  toDd: number;
  /** CPU of the LMTP server for one message, in milliseconds. */
  cpuMs: number;
}

/** Runs of Exim's queue, by LMTP into a spool and by pipes, in turns. */
export async function handOver(): Promise<HandOverFigures> {
  return inBench(async (t) => {
    const { folder, server } = await withIntake(t);
    mkdirSync(join(folder, 'synced'));
    chmodSync(join(folder, 'synced'), 0o777);
    const dd = `/bin/dd of=${folder}/synced/$message_exim_id conv=fsync status=none`;
    const transports = [pipeTo('cat', '/bin/cat'), pipeTo('dd', dd)].join('\n');
    const exim = async (transport: string) => {
      const made = new BenchExim(t, { folder, transport, transports });
      await made.run(WARM);
      return made;
    };
    const lmtp = await exim('appengine_mailer_lmtp');
    const pipes = { cat: await exim('cat'), dd: await exim('dd') };
    const against = async (pipe: BenchExim, runners: number) => {
      const ratios: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const byLmtp = await lmtp.run(QUEUED, runners);
        ratios.push((await pipe.run(QUEUED, runners)) / byLmtp);
      }
      return median(ratios);
    };
    const before = cpuMs(server.program);
    const toCat = await against(pipes.cat, 1);
    const used = cpuMs(server.program) - before;
    const fourToCat = await against(pipes.cat, 4);
    const toDd = await against(pipes.dd, 1);
    return { toCat, fourToCat, toDd, cpuMs: used / (ROUNDS * QUEUED) };
  });
}

function pipeTo(name: string, command: string): string {
  return `${name}:\n  driver = pipe\n  command = ${command}\n  use_bsmtp\n  user = ${account().name}`;
}

/** How long a burst takes, in seconds. */
export interface BurstFigures {
  inSpool: number;
  atProxy: number;
  /** Exim alone, with smtp-sink as its smarthost. */
  atSmarthost: number;
}

/** A burst of messages by sendmail. */
export async function burst(count: number): Promise<BurstFigures> {
  return inBench(async (t) => {
    const { road, folder } = await withIntake(t);
    const sink = await SmtpSink.start(t);
    const transports = `smarthost:\n  driver = smtp\n  port = ${sink.port}\n  hosts_avoid_tls = *\n  allow_localhost`;
    const message = join(folder, 'message');
    writeFileSync(message, MESSAGE);
    await road.proxy(['--backend', 'discard']);
    const drain = road.drain();
    await drain.says(/started/);
    const lmtp = new BenchExim(t, { folder, transport: 'appengine_mailer_lmtp', transports });
    await lmtp.run(WARM);
    const start = performance.now();
    const since = () => (performance.now() - start) / 1000;
    await lmtp.burst(count, message);
    const inSpool = await reached(road.spool, 'accepted', WARM + count).then(since);
    const atProxy = await reached(road.spool, 'sent', WARM + count).then(since);

    const smarthost = new BenchExim(t, { folder, transport: 'smarthost', transports });
    await smarthost.run(WARM);
    const atSmarthost = await seconds(async () => {
      await smarthost.burst(count, message);
      await sink.taken(WARM + count);
    });
    return { inSpool, atProxy, atSmarthost };
  });
}

/** Waits until a counter of the spool (law 8) is so high. */
async function reached(spool: string, counter: string, count: number): Promise<void> {
  const db = new Database(join(spool, 'spool.db'), { readonly: true });
  const messages = db.prepare<[string], number>('SELECT messages FROM counter WHERE name = ?');
  while ((messages.pluck().get(counter) ?? 0) < count) await sleep(50);
  db.close();
}

async function withIntake(t: TestContext) {
  const road = new Road(t);
  const server = await new PrivateExim(road).intake();
  chmodSync(road.folder, 0o755);
  return { road, folder: road.folder, server };
}

const EXIM = '/usr/sbin/exim4';
