import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/host/clock.ts';
import type { Ledger } from '../../src/proxy/ledger/ledger.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { PostgresLedgerReader } from '../../src/proxy/ledger/postgres/postgres-ledger-reader.ts';
import type { LedgerReader } from '../../src/proxy/ledger/read-ledger.ts';
import { SqliteLedgerReader } from '../../src/proxy/ledger/sqlite/sqlite-ledger-reader.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { letPass } from './let-pass.ts';
import { PostgresServer, type PostgresOptions } from './postgres.ts';
import { scratch } from './scratch.ts';

/** A ledger that a test opens and closes; what --ledger would name it. */
export interface LedgerPlace {
  name: string;
  open(clock?: Clock): Promise<Ledger>;
  read(): Promise<LedgerReader>;
  /** Makes what it holds older. */
  letPass(ms: number): Promise<void>;
}

export interface LedgerEngine {
  name: string;
  /** A place for a new ledger. */
  place(t: TestContext): Promise<LedgerPlace>;
}

export const sqliteEngine: LedgerEngine = {
  name: 'SQLite',
  place: async (t) => {
    const file = join(scratch(t), 'ledger.db');
    return Promise.resolve({
      name: file,
      open: async (clock) => Promise.resolve(new SqliteLedger(file, clock)),
      read: async () => Promise.resolve(new SqliteLedgerReader(file)),
      letPass: async (ms) => Promise.resolve(letPass(file, ms)),
    });
  },
};

/** Ledgers in one server, which the first of them starts. */
export function postgresEngine(options?: PostgresOptions): LedgerEngine {
  let server: Promise<PostgresServer> | undefined;
  let count = 0;
  return {
    name: 'PostgreSQL',
    place: async (t) => {
      const at = await (server ??= PostgresServer.start(t, options));
      count += 1;
      return placeIn(at, `ledger${count}`);
    },
  };
}

/** A place for a ledger in a database of its own. */
export async function placeIn(server: PostgresServer, database: string): Promise<LedgerPlace> {
  const name = await server.database(database);
  const journal = proxyJournal(() => {});
  return {
    name,
    open: async (clock = systemClock) => openPostgresLedger(name, { journal, clock }),
    read: async () => PostgresLedgerReader.open(name),
    letPass: async (ms) => {
      await server.query(`UPDATE clock SET observed_ms = observed_ms + ${ms}`, [], database);
    },
  };
}
