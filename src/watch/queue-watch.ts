import { decodeAddress } from '../mail/address.ts';
import { limits } from '../limits.ts';
import { readSamples } from '../spool/samples.ts';
import type { MessageState, Spool } from '../spool/spool.ts';
import { shownTime } from '../sqlite/shown-time.ts';
import { FigureBook } from './figure-book.ts';
import { etaOf, ratePoint, ratesOf, type Eta, type RatePoint, type Rates } from './rates.ts';
import { spoolView, type SpoolView } from './spool-view.ts';

/** A message that is being sent. */
export interface MessageInFlight {
  id: string;
  size: number;
  /** Attempts before this one. */
  attempts: number;
  /** In milliseconds since 1970. */
  queuedAt: number;
  /** One of the recipients, and how many there are. */
  address: string;
  recipients: number;
}

/** What a message came to, at a time in milliseconds since 1970. */
export interface QueueEvent {
  id: string;
  state: MessageState;
  at: number;
  status: string | null;
  reason: string | null;
}

/** The queue at one moment. */
export interface QueueLook {
  view: SpoolView;
  now: Rates | undefined;
  minutes: Rates | undefined;
  eta: Eta;
  inFlight: MessageInFlight[];
  /** The latest first. */
  events: QueueEvent[];
}

/** Looks at a queue again and again, and remembers what rates are made of. */
export class QueueWatch {
  readonly #spool: Spool;
  readonly #points: RatePoint[];
  #inFlight: MessageInFlight[] = [];
  #events: QueueEvent[] = [];

  constructor(spool: Spool) {
    this.#spool = spool;
    this.#points = readSamples(spool, 'hour').map(({ at, figures }) =>
      ratePoint(at, new FigureBook(figures)),
    );
  }

  look(): QueueLook {
    const view = spoolView(this.#spool);
    const shown = shownTime(this.#spool, this.#spool.clock.wallNow());
    const point = ratePoint(shown.now, view.figures);
    this.#points.push(point);
    while ((this.#points[1]?.at ?? Infinity) < shown.now - limits.etaRateMs) this.#points.shift();
    const inFlight = this.#readInFlight();
    this.#events = this.#readEvents(inFlight);
    this.#inFlight = inFlight;
    const minutes = ratesOf(this.#points, limits.etaRateMs);
    return {
      view,
      now: ratesOf(this.#points, limits.nowRateMs),
      minutes,
      eta: etaOf(point.waiting, minutes),
      inFlight,
      events: this.#events,
    };
  }

  #readInFlight(): MessageInFlight[] {
    return this.#spool
      .sql<Omit<MessageInFlight, 'address'> & { address: Buffer | null }>(
        `SELECT id, size, attempts, queued_at AS queuedAt, min(address) AS address,
           count(address) AS recipients
         FROM message LEFT JOIN recipient ON message = seq AND recipient.state = 'pending'
         WHERE message.state = 'sending' GROUP BY seq`,
      )
      .all()
      .map((row) => ({ ...row, address: row.address === null ? '' : decodeAddress(row.address) }));
  }

  /** Messages that were finished last, and those that were in flight at the last look and wait again. */
  #readEvents(inFlight: readonly MessageInFlight[]): QueueEvent[] {
    const columns = `SELECT id, state, last_status AS status, last_reason AS reason,
      (SELECT max(at) FROM history WHERE message = seq) AS at FROM message`;
    const finished = this.#spool
      .sql<QueueEvent>(
        `${columns} WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT ${limits.topEvents}`,
      )
      .all();
    const gone = this.#inFlight.filter(({ id }) => !inFlight.some((each) => each.id === id));
    const again = gone.flatMap(({ id }) =>
      this.#spool.sql<QueueEvent>(`${columns} WHERE id = ? AND state = 'queued'`).all(id),
    );
    const events = new Map(
      [...again, ...finished, ...this.#events].map((event) => [`${event.id} ${event.at}`, event]),
    );
    return [...events.values()].toSorted((one, two) => two.at - one.at).slice(0, limits.topEvents);
  }
}
