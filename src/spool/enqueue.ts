import { spaceFault } from '../host/free-space.ts';
import { newId } from '../host/new-id.ts';
import { encodeAddress } from '../mail/address.ts';
import type { Envelope } from '../mail/envelope.ts';
import { writeBody } from './body.ts';
import { outageMs } from './endpoint.ts';
import type { Spool } from './spool.ts';

/** A message as it is handed over. */
export interface HandOver {
  eximId: string;
  envelope: Envelope;
  /** The bytes of the message, in pieces of any size: nobody has to put a large one together. */
  pieces: readonly Buffer[];
  /** SHA-256 of the bytes. */
  digest: Buffer;
}

/** The spool cannot take a message now. */
export class SpoolFullError extends Error {
  override readonly name = 'SpoolFullError';
}

/**
 * Stores a message for those of its recipients that are not known yet, in one transaction that is on
 * disk when this returns. The key is (Exim id, recipient, digest), so handing over again what was
 * stored stores nothing (law 2): then `already` is true and the id is that of the message that has
 * the first recipient. Throws SpoolFullError or SqliteError, and then nothing is stored.
 */
export function enqueue(spool: Spool, handOver: HandOver, now: number): Stored {
  const fault = spaceFault(spool.folder);
  if (fault) throw new SpoolFullError(fault);
  return store(spool, handOver, now, newId(spool.clock));
}

/** What came of a hand-over. */
export interface Stored {
  id: string;
  already: boolean;
  /** The recipients that were stored before, with the ids of their messages; their octets in latin1. */
  known: ReadonlyMap<string, string>;
}

/** The same under this id, however little room there is. */
export function store(
  spool: Spool,
  { eximId, envelope, pieces, digest }: HandOver,
  now: number,
  id: string,
): Stored {
  return spool.transaction(() => {
    const known = new Map(
      spool
        .sql<{ address: Buffer; id: string }>(
          `SELECT recipient.address, message.id FROM message
           JOIN recipient ON recipient.message = message.seq
           WHERE message.exim_id = :eximId AND message.digest = :digest`,
        )
        .all({ eximId, digest })
        .map((row) => [row.address.toString('latin1'), row.id]),
    );
    const octets = envelope.recipients.map((recipient) => encodeAddress(recipient));
    const fresh = new Map(
      octets
        .map((address) => [address.toString('latin1'), address] as const)
        .filter(([key]) => !known.has(key)),
    );
    const [first] = octets;
    if (!first) throw new RangeError('a message without recipients cannot be queued');
    const knownId = known.get(first.toString('latin1'));
    if (fresh.size === 0 && knownId) return { id: knownId, already: true, known };

    const { lastInsertRowid: seq } = spool
      .sql(
        `INSERT INTO message
           (id, exim_id, digest, sender, size, state, queued_at, due_at, renewed_at, outage_ms)
         VALUES (:id, :eximId, :digest, :sender, :size, 'queued', :wall, :now, :now, :outageMs)`,
      )
      .run({
        id,
        eximId,
        digest,
        sender: encodeAddress(envelope.sender),
        size: pieces.reduce((size, { length }) => size + length, 0),
        wall: spool.clock.wallNow(),
        now,
        outageMs: outageMs(spool, now),
      });
    writeBody(spool, Number(seq), pieces);
    const add = spool.sql('INSERT INTO recipient (message, position, address) VALUES (?, ?, ?)');
    [...fresh.values()].forEach((address, position) => add.run(seq, position, address));
    return { id, already: false, known };
  });
}
