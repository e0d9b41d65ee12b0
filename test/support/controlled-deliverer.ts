import { join } from 'node:path';
import type { TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import {
  unlimited,
  type Backend,
  type Deliver,
  type Delivery,
  type Result,
} from '../../src/proxy/backends/backend.ts';
import { Deliverer } from '../../src/proxy/deliverer.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import type { Quota } from '../../src/proxy/pace/quota.ts';
import type { Verdict } from '../../src/wire/verdicts.ts';
import { letPass } from './let-pass.ts';
import { scratch } from './scratch.ts';

/** A deliverer with a real ledger, and a backend that answers as the test wants and counts its calls. */
export class ControlledDeliverer {
  readonly calls: Delivery[] = [];
  readonly journal: string[] = [];
  readonly file: string;
  deliverer: Deliverer;
  answer: Deliver = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  backend: Backend = unlimited(async (delivery) => {
    this.calls.push(delivery);
    return this.answer(delivery);
  });
  #ledger: SqliteLedger;
  readonly #journal = proxyJournal(({ text }) => this.journal.push(text));

  readonly #quotas: readonly Quota[];

  constructor(t: TestContext, quotas: readonly Quota[] = []) {
    this.#quotas = quotas;
    this.file = join(scratch(t), 'ledger.db');
    this.#ledger = new SqliteLedger(this.file);
    this.deliverer = this.#start();
    t.after(() => this.#ledger.close());
  }

  get ledger(): SqliteLedger {
    return this.#ledger;
  }

  /** What a proxy does that starts again after a crash, with so much observed time passed before that. */
  restart({ after = 0 } = {}): void {
    this.#ledger.close();
    letPass(this.file, after);
    this.#ledger = new SqliteLedger(this.file);
    this.deliverer = this.#start();
  }

  /** Posts as a client does. */
  async post(
    id: string,
    recipients: string[],
    bytes: string | Buffer = 'x\n',
    key = '',
  ): Promise<string[]> {
    const envelope = { sender: '', recipients };
    return told(await this.deliverer.send({ key, id, envelope, bytes: Buffer.from(bytes) }));
  }

  /** Asks what became of a post. */
  async ask(id: string, recipients: string[], key = ''): Promise<string[]> {
    return told(await this.deliverer.ask({ key, id }, recipients));
  }

  #start(): Deliverer {
    return new Deliverer({
      ledger: this.#ledger,
      backend: { reserve: async (giveUp) => this.backend.reserve(giveUp) },
      policy: (delivery) => delivery,
      journal: this.#journal,
      quotas: this.#quotas,
      recipientsMax: 100,
    });
  }

  /** Rows of a table of the ledger, as any other reader of the file sees them. */
  rows(table: 'message' | 'recipient' | 'unknown'): Record<string, unknown>[] {
    return rowsOf(this.file, table);
  }
}

function told(verdicts: readonly Verdict[]): string[] {
  return verdicts.map(({ status, reason }) => `${status} ${reason}`);
}

/** One result for each recipient. */
export function everyone({ recipients }: Delivery, status: string): Result[] {
  return recipients.map((recipient) => ({ recipient, status, reason: `told ${recipient}` }));
}

export function rowsOf(file: string, table: string): Record<string, unknown>[] {
  const db = new Database(file, { readonly: true });
  try {
    return db.prepare<unknown[], Record<string, unknown>>(`SELECT * FROM ${table}`).all();
  } finally {
    db.close();
  }
}
