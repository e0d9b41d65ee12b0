import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { spoolFile } from '../../src/spool/spool.ts';
import { handIn } from '../support/hand-in.ts';
import { done, drainOnce, makeSpool } from '../support/queues.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import type { Program } from '../support/program.ts';

// What appengine-mailer-backup(7) says of restored and moved files, each sentence on the real programs.

/** A queue, a proxy and a relay that counts; copies are made while they run, as the manual says. */
class Machines {
  readonly road: Road;
  readonly relay: ScriptedSmtp;
  readonly spool: string;
  readonly ledger: string;
  #proxy: Program | undefined;

  private constructor(t: TestContext, relay: ScriptedSmtp) {
    this.road = new Road(t);
    this.relay = relay;
    this.spool = spoolFile(this.road.spool);
    this.ledger = join(this.road.folder, 'ledger.db');
  }

  static async start(t: TestContext): Promise<Machines> {
    const machines = new Machines(t, await ScriptedSmtp.start(t));
    await machines.startProxy();
    return machines;
  }

  /** Another proxy comes to the address of the one before. */
  async startProxy(ledger = this.ledger): Promise<void> {
    const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(this.relay.port)];
    const backend = ['--backend', 'smtp', ...relay, '--smtp-security', 'none'];
    this.#proxy = await this.road.proxy(backend, {}, ledger);
  }

  async stopProxy(): Promise<void> {
    await this.#proxy?.stop();
  }

  /** Copies a database while it is in use. */
  copy(file: string, name: string): string {
    const copy = join(this.road.folder, name);
    const db = new Database(file, { readonly: true });
    db.exec(`VACUUM INTO '${copy}'`);
    db.close();
    return copy;
  }

  restore(file: string, copy: string): void {
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true });
    cpSync(copy, file);
  }

  async send(): Promise<void> {
    assert.equal((await drainOnce(this.road, this.road.spool)).code, 0);
  }

  /** How often the relay got each recipient. */
  get sent(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { envelope } of this.relay.messages) {
      for (const line of envelope.slice(1)) {
        const name = /<(.*)@/.exec(line)?.[1] ?? '';
        counts[name] = (counts[name] ?? 0) + 1;
      }
    }
    return counts;
  }
}

const to = (...names: string[]) => names.map((name) => ({ recipients: [`${name}@example.org`] }));

test('an older spool with the present ledger sends nothing twice, and what came after the copy is not there (law 6)', async (t) => {
  const machines = await Machines.start(t);
  const { road, spool } = machines;
  handIn(road.spool, to('before'));
  await machines.send();
  handIn(road.spool, to('a', 'b'));
  const copy = machines.copy(spool, 'copy.db');
  await machines.send();
  handIn(road.spool, to('after'));
  machines.restore(spool, copy);
  assert.match(await done(t, road.spool, 'fsck', '--check'), /./);
  await done(t, road.spool, 'hold', '--all');
  await done(t, road.spool, 'release', '--all');
  await machines.send();
  assert.deepEqual(machines.sent, { before: 1, a: 1, b: 1 });
  assert.deepEqual(
    readSpool(road.spool).map(({ state }) => state),
    ['sent', 'sent', 'sent'],
  );
});

test('an older ledger with the present spool doubles nothing that the spool knows as sent (law 6)', async (t) => {
  const machines = await Machines.start(t);
  const { road, ledger, spool } = machines;
  const copy = machines.copy(ledger, 'copy.db');
  handIn(road.spool, to('a', 'b'));
  const unknowing = machines.copy(spool, 'unknowing.db');
  await machines.send();
  await machines.stopProxy();
  machines.restore(ledger, copy);
  await machines.startProxy();
  handIn(road.spool, to('c'));
  await machines.send();
  assert.deepEqual(machines.sent, { a: 1, b: 1, c: 1 });
  // Only what the spool does not know, either, is sent twice.
  machines.restore(spool, unknowing);
  await machines.send();
  assert.deepEqual(machines.sent, { a: 2, b: 2, c: 1 });
});

test('both restored: with the spool copied first nothing is sent twice that was sent before the ledger was copied (law 6)', async (t) => {
  const machines = await Machines.start(t);
  const { road, ledger, spool } = machines;
  handIn(road.spool, to('a'));
  const copies = { spool: machines.copy(spool, 'spool-copy.db'), ledger: '' };
  await machines.send();
  copies.ledger = machines.copy(ledger, 'ledger-copy.db');
  await machines.stopProxy();
  machines.restore(ledger, copies.ledger);
  machines.restore(spool, copies.spool);
  await machines.startProxy();
  await machines.send();
  assert.deepEqual(machines.sent, { a: 1 });
});

test('a copy that is made while drain sends is whole, and sends nothing twice (law 6)', async (t) => {
  const machines = await Machines.start(t);
  const { road, spool } = machines;
  const names = Array.from({ length: 300 }, (_, at) => `r${at}`);
  handIn(road.spool, to(...names));
  const draining = drainOnce(road, road.spool);
  const copy = machines.copy(spool, 'copy.db');
  await draining;
  machines.restore(spool, copy);
  await machines.send();
  assert.deepEqual(machines.sent, Object.fromEntries(names.map((name) => [name, 1])));
});

test('an exported and confirmed message that an older spool brings back is not sent again by a key of the same name (law 6)', async (t) => {
  const machines = await Machines.start(t);
  const { road, spool } = machines;
  const [other, file] = [makeSpool(join(road.folder, 'other')), join(road.folder, 'file')];
  handIn(road.spool, to('a'));
  const copy = machines.copy(spool, 'copy.db');
  await done(t, road.spool, 'export', file);
  await done(t, other, 'import', file);
  await done(t, road.spool, 'export', '--confirm', file);
  await drainOnce(road, other);
  machines.restore(spool, copy);
  await machines.send();
  assert.deepEqual(machines.sent, { a: 1 });
});

test('a proxy that moves with its ledger knows what the old one sent (law 6)', async (t) => {
  const machines = await Machines.start(t);
  const { road, ledger, spool } = machines;
  handIn(road.spool, to('a'));
  const unknowing = machines.copy(spool, 'unknowing.db');
  await machines.send();
  await machines.stopProxy();
  const moved = join(road.folder, 'moved.db');
  cpSync(ledger, moved); // It has stopped: there is no log.
  await machines.startProxy(moved);
  machines.restore(spool, unknowing);
  handIn(road.spool, to('b'));
  await machines.send();
  assert.deepEqual(machines.sent, { a: 1, b: 1 });
});
