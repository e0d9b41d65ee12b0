import { join } from 'node:path';
import type { TestContext } from 'node:test';
import Database from 'better-sqlite3';
import { ProxyJournal } from '../../src/proxy/proxy-journal.ts';
import type { Backend, Delivery, Result } from '../../src/proxy/backend.ts';
import { Ledger } from '../../src/proxy/ledger.ts';
import { Relay } from '../../src/proxy/relay.ts';
import { letPass } from './let-pass.ts';
import { scratch } from './scratch.ts';

/** A relay with a real ledger, and a backend that answers as the test wants and counts its calls. */
export class ControlledRelay {
  readonly calls: Delivery[] = [];
  readonly journal: string[] = [];
  readonly file: string;
  relay: Relay;
  answer: Backend = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  #ledger: Ledger;
  readonly #backend: Backend = async (delivery, timeUp) => {
    this.calls.push(delivery);
    return this.answer(delivery, timeUp);
  };
  readonly #journal = new ProxyJournal(({ text }) => this.journal.push(text));

  constructor(t: TestContext) {
    this.file = join(scratch(t), 'ledger.db');
    this.#ledger = new Ledger(this.file, Date.now());
    this.relay = new Relay(this.#ledger, this.#backend, this.#journal, 100);
    t.after(() => this.#ledger.close());
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  /** What a proxy does that starts again after a crash, with so much observed time passed before that. */
  restart({ after = 0 } = {}): void {
    this.#ledger.close();
    letPass(this.file, after);
    this.#ledger = new Ledger(this.file, Date.now());
    this.relay = new Relay(this.#ledger, this.#backend, this.#journal, 100);
  }

  /** Posts as a client does. */
  async post(id: string, recipients: string[], bytes = 'x\n'): Promise<string[]> {
    const verdicts = await this.relay.send(id, { sender: '', recipients }, Buffer.from(bytes));
    return verdicts.map(({ status, reason }) => `${status} ${reason}`);
  }

  /** Rows of a table of the ledger, as any other reader of the file sees them. */
  rows(table: 'message' | 'recipient' | 'unknown'): Record<string, unknown>[] {
    return rowsOf(this.file, table);
  }
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
