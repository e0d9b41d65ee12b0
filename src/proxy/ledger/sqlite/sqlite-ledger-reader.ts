import { fitsAddress } from '../../../sqlite/fits-address.ts';
import { openToRead, type Database } from '../../../sqlite/open-database.ts';
import { shownTime } from '../../../sqlite/shown-time.ts';
import { limits } from '../../../limits.ts';
import {
  ANY_TIME,
  BEFORE_ALL,
  knownOfPosted,
  knownOfUnknown,
  type KnownFilter,
  type KnownRecipient,
  type LedgerReader,
  type LedgerStats,
  type PostedRow,
  type UnknownRow,
} from '../read-ledger.ts';
import { ledgerSchema } from './ledger-schema.ts';

/** A ledger in a SQLite file that is open to be read, also beside its proxy. */
export class SqliteLedgerReader implements LedgerReader {
  readonly #db: Database;

  /** Throws as openToRead does. */
  constructor(file: string) {
    this.#db = openToRead(file, ledgerSchema);
  }

  close(): void {
    this.#db.close();
  }

  *list(filter: KnownFilter, wallNow: number): Generator<KnownRecipient> {
    if (filter.states.includes('unknown')) yield* this.#listUnknown(filter);
    for (const state of ['begun', 'sent'] as const) {
      if (filter.states.includes(state)) yield* this.#listPosted(state, filter, wallNow);
    }
  }

  *#listUnknown({ recipient, before = ANY_TIME }: KnownFilter): Generator<KnownRecipient> {
    const page = this.#db.prepare<unknown[], NumberedRow>(
      `${UNKNOWN} AND rowid > :after AND listed_at < :before AND ${FITS} ORDER BY rowid LIMIT :limit`,
    );
    const rows = inPages<NumberedRow>((last, limit) =>
      page.all({ recipient: recipient ?? null, before, after: last?.rowid ?? 0, limit }),
    );
    for (const row of rows) yield knownOfUnknown(row);
  }

  *#listPosted(
    state: 'begun' | 'sent',
    { recipient, before = ANY_TIME }: KnownFilter,
    wallNow: number,
  ): Generator<KnownRecipient> {
    const shown = shownTime({ db: this.#db }, wallNow);
    // The state is a constant, so that SQLite uses the index of those that were begun.
    const page = this.#db.prepare<unknown[], PostedRow>(
      `${POSTED} AND state = '${state}' AND (message, address) > (:message, :address) AND at < :before AND ${FITS}
       ORDER BY message, address LIMIT :limit`,
    );
    const observed = before + shown.now - wallNow;
    const rows = inPages<PostedRow>((last, limit) => {
      const { message, address } = last ?? BEFORE_ALL;
      return page.all({ recipient: recipient ?? null, before: observed, message, address, limit });
    });
    for (const row of rows) yield knownOfPosted(row, shown);
  }

  find(id: string, wallNow: number): KnownRecipient[] {
    const shown = shownTime({ db: this.#db }, wallNow);
    const names = `(SELECT :id UNION SELECT id FROM message WHERE id LIKE '%/' || :id
      UNION SELECT message FROM unknown WHERE message LIKE '%/' || :id)`;
    const unknown = this.#db
      .prepare<unknown[], UnknownRow>(`${UNKNOWN} AND message IN ${names} ORDER BY rowid`)
      .all({ id });
    const posted = this.#db
      .prepare<unknown[], PostedRow>(`${POSTED} AND message IN ${names} ORDER BY message, address`)
      .all({ id });
    return [...unknown.map(knownOfUnknown), ...posted.map((row) => knownOfPosted(row, shown))];
  }

  stats(wallNow: number): LedgerStats {
    return this.#db.transaction(() => {
      const { wall } = shownTime({ db: this.#db }, wallNow);
      const number = (sql: string) =>
        this.#db.prepare<[], number | null>(`SELECT ${sql}`).pluck().get() ?? null;
      const count = (rows: string) => number(`count(*) FROM ${rows}`) ?? 0;
      const begun = count(`recipient WHERE state = 'begun'`);
      return {
        messages: count('message'),
        recipients: { unknown: count('unknown'), begun, sent: count('recipient') - begun },
        oldestUnknownAt: number('min(listed_at) FROM unknown'),
        oldestPostedAt: wall(number('min(at) FROM message')),
        latestPostedAt: wall(number('max(at) FROM message')),
      };
    })();
  }
}

/** The rows of all pages; `read` returns at most `limit` rows that follow the last row of the previous page. */
function* inPages<Row>(read: (last: Row | undefined, limit: number) => Row[]): Generator<Row> {
  for (let last: Row | undefined; ;) {
    const rows = read(last, limits.listPage);
    yield* rows;
    if (rows.length < limits.listPage) return;
    last = rows.at(-1);
  }
}

type NumberedRow = UnknownRow & { rowid: number };

const UNKNOWN = `SELECT rowid, message, address, reason, listed_at AS at,
    EXISTS (SELECT 1 FROM recipient
      WHERE message = unknown.message AND address = unknown.address AND state = 'sent') AS sentAgain
  FROM unknown WHERE TRUE`;
const POSTED = `SELECT message, address, state, status, reason, message.at
  FROM recipient JOIN message ON message.id = recipient.message WHERE TRUE`;
const FITS = `(:recipient IS NULL OR ${fitsAddress('address', ':recipient')})`;
