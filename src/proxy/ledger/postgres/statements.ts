import { limits } from '../../../limits.ts';
import type { Statement } from './postgres-session.ts';

/** Observed time, as it was last written down. */
const NOW = '(SELECT observed_ms FROM clock)';

/**
 * For how long an owner was silent, with $2 milliseconds more: a look does not count a time in which nobody could look, and
 * no single look makes out that somebody was silent for the whole of $5.
 */
const SILENT = `missing_ms + least($2, ${2 * limits.ledgerLookMs}, $5::bigint / 2)`;

/**
 * Whether an owner is taken for dead by the one with the number $4. One that has nothing begun has more time: a provider of
 * computers may let an idle program stand still. OFFSET 0 has that looked up for those alone that are silent: the index still
 * has what the others have sent, as long as a backup reads an old state.
 */
const DEAD = `number <> $4 AND ${SILENT} >= $5::bigint AND (${SILENT} >= $5::bigint + ${limits.idleOwnerMs}
        OR EXISTS (SELECT FROM recipient WHERE recipient.owner = owner.number AND state = 'begun' OFFSET 0))`;

function statements<Name extends string>(texts: Record<Name, string>): Record<Name, Statement> {
  const named = Object.entries<string>(texts).map(([name, text]) => [name, { name, text }]);
  return Object.fromEntries(named) as Record<Name, Statement>;
}

/**
 * Each is one transaction. Those of a post lock rows in the order of their keys, so that two batches cannot wait for each other;
 * `look` and `leave` do not, and the one that the server ends because of them is tried again. Where rows are found by their
 * keys, the condition on the state is within a CASE: the planner cannot match that with the index recipient_begun, which still
 * has the entries of all that was sent since the last vacuum.
 */
export const sql = statements({
  /** $1: looks; $2: names of messages; $3, $4: message and address. Digests, and what is known of the recipients. */
  lookUp: `
    SELECT message.name AS message, NULL AS address, NULL AS state, NULL::integer AS owner,
      NULL AS status, NULL AS reason, message.digest
    FROM unnest($1::text[]) AS asked (name) JOIN message ON message.name = asked.name
    UNION ALL
    SELECT recipient.message, recipient.address, state, owner, status, reason, NULL
    FROM unnest($2::text[], $3::text[]) AS asked (message, address)
      JOIN recipient ON recipient.message = asked.message AND recipient.address = asked.address`,

  /**
   * $1: owner; $2, $3, $4: name, id and digest of messages; $5, $6: message and address; $7: the wall clock. Begins those
   * that nobody has begun or sent, unless the owner was taken for dead or the digest is another one. Shows that the owner is
   * alive, whose row is locked, so that a look which takes it for dead at the same time comes before or after. IS TRUE keeps IN
   * from being made a join, which would compare each name with each.
   */
  begin: `
    WITH awake AS (UPDATE owner SET missing_ms = 0 WHERE number = $1 AND missing_ms > 0),
    post AS (SELECT * FROM unnest($2::text[], $3::text[], $4::bytea[]) AS post (name, id, digest)),
    noted AS (
      INSERT INTO message (name, digest, at, doubtful)
      SELECT name, digest, ${NOW},
        EXISTS (SELECT FROM gap WHERE post.name BETWEEN low AND high OR post.id BETWEEN low AND high)
        OR EXISTS (SELECT FROM message WHERE message.name = post.id AND doubtful)
      FROM post WHERE EXISTS (SELECT FROM owner WHERE number = $1 FOR KEY SHARE) ORDER BY name
      ON CONFLICT (name) DO UPDATE SET at = excluded.at, digest = excluded.digest
        WHERE message.digest IN (excluded.digest, decode(repeat('00', 32), 'hex'))
      RETURNING name, doubtful),
    begun AS (
      INSERT INTO recipient AS known (message, address, state, owner)
      SELECT message, address, 'begun', $1
      FROM unnest($5::text[], $6::text[]) AS new (message, address)
      WHERE (message IN (SELECT name FROM noted)) IS TRUE ORDER BY message, address
      ON CONFLICT (message, address) DO UPDATE SET state = 'begun', owner = excluded.owner, waited = false,
          status = NULL, reason = NULL, ended_at = NULL
        WHERE known.state = 'ended' OR (known.state = 'begun' AND known.owner = excluded.owner)
      RETURNING message, address),
    suspect AS (
      INSERT INTO unknown (message, address, at, reason, listed_at)
      SELECT message, address, ${NOW}, 'the ledger was damaged, and may have known that it was sent', $7
      FROM begun
      WHERE (message IN (SELECT name FROM noted WHERE doubtful)) IS TRUE AND NOT EXISTS (SELECT FROM unknown
        WHERE unknown.message = begun.message AND unknown.address = begun.address))
    SELECT message, address FROM begun`,

  /**
   * $1: owner; $2, $3: message and address; $4, $5: status and reason, or NULL; $6: why it is unknown, or NULL; $7: the wall
   * clock. Settles those that this owner still has, and tells those who wait. Recipients to whom it was sent are settled as
   * well where the owner was taken for dead (unknownOf) and nobody has begun them since: they are not unknown any more, and
   * it is not sent again.
   */
  settle: `
    WITH outcome AS (
      SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS outcome (message, address, status, reason, doubt) ORDER BY message, address),
    settled AS (
      UPDATE recipient SET state = CASE WHEN outcome.status LIKE '2.%' THEN 'sent' ELSE 'ended' END,
        status = outcome.status, reason = outcome.reason,
        ended_at = CASE WHEN outcome.status LIKE '2.%' THEN NULL ELSE ${NOW} END
      FROM outcome
      WHERE recipient.message = outcome.message AND recipient.address = outcome.address
        AND CASE recipient.state WHEN 'begun' THEN recipient.owner = $1
          WHEN 'ended' THEN recipient.owner IS NULL AND outcome.status LIKE '2.%' ELSE false END
      RETURNING recipient.message, recipient.address, owner, waited, doubt),
    cleared AS (
      DELETE FROM unknown WHERE number IN (
        SELECT max(number) FROM settled JOIN unknown USING (message, address)
        WHERE owner IS NULL GROUP BY message, address)),
    listed AS (
      INSERT INTO unknown (message, address, at, reason, listed_at)
      SELECT message, address, ${NOW}, doubt, $7 FROM settled WHERE doubt IS NOT NULL)
    SELECT message, address,
      CASE WHEN waited THEN pg_notify('appengine_mailer', message) END FROM settled`,

  /**
   * $1: owner; $2, $3: message and address; $4: reason; $5: the wall clock. Lists as unknown, unless they are listed, those
   * that this owner could not settle; but not those that an attempt without an answer has settled, nor those that were sent,
   * by this proxy under its former number or by another one. Returns them.
   */
  missed: `
    WITH missed AS (
      SELECT * FROM unnest($2::text[], $3::text[]) AS missed (message, address)
      WHERE NOT EXISTS (SELECT FROM recipient WHERE recipient.message = missed.message
        AND recipient.address = missed.address AND (state = 'sent' OR owner = $1 AND state = 'ended'))),
    listed AS (
      INSERT INTO unknown (message, address, at, reason, listed_at)
      SELECT message, address, ${NOW}, $4, $5 FROM missed
      WHERE NOT EXISTS (SELECT FROM unknown
        WHERE unknown.message = missed.message AND unknown.address = missed.address))
    SELECT message, address FROM missed`,

  /** $1: owner; $2, $3: message and address. Has those that send these recipients tell when they are done. */
  wait: `
    UPDATE recipient SET waited = true
    FROM (SELECT * FROM unnest($2::text[], $3::text[]) AS asked (message, address) ORDER BY message, address) AS asked
    WHERE recipient.message = asked.message AND recipient.address = asked.address
      AND CASE state WHEN 'begun' THEN owner <> $1 AND NOT waited ELSE false END`,

  pace: `
    SELECT spent, greatest(at, observed_ms)::float8 AS at, changes::float8 AS changes FROM pace, clock`,
  /** $1: changes; $2: what was spent; $3: time. Returns nothing when another proxy has changed it since it was read. */
  changePace: `UPDATE pace SET spent = $2, at = $3, changes = changes + 1 WHERE changes = $1 RETURNING one`,

  /** $1: owner. Finds out whether the ledger can be written, and whether it knows this owner. */
  check: `UPDATE owner SET checked = checked + 1 WHERE number = $1 RETURNING number`,
  owner: `SELECT number FROM owner WHERE number = $1`,

  /** $1: how many to count. What a proxy wants to know of the ledger when it starts. */
  about: `
    SELECT id, NOT EXISTS (SELECT FROM message) AS is_empty,
      (SELECT count(*)::integer FROM (SELECT FROM unknown LIMIT $1) AS counted) AS listed
    FROM ledger`,
  /** $1: owner. It is alive; nothing where the others have taken it for dead. How many looks there were, and when. */
  beat: `
    UPDATE owner SET missing_ms = 0 WHERE number = $1
    RETURNING (SELECT looks FROM clock)::float8 AS looks, ${NOW}::float8 AS observed`,
  /**
   * $1: looks; $2: milliseconds; $3: the wall clock; $4: owner; $5: milliseconds; $6: reason. Adds time that no other
   * proxy has added since this one looked last, counts for how long others have not looked, and takes over from those that were
   * silent for $5 while they had something begun. Returns nothing when another proxy has added time, or has taken this one for dead.
   */
  look: `
    WITH time AS (
      UPDATE clock SET looks = looks + 1, observed_ms = observed_ms + $2, written_at = $3
      WHERE looks = $1 AND EXISTS (SELECT FROM owner WHERE number = $4)
      RETURNING looks, observed_ms),
    counted AS (
      UPDATE owner SET missing_ms = CASE WHEN number = $4 THEN 0 ELSE ${SILENT} END FROM time WHERE NOT (${DEAD})),
    gone AS (DELETE FROM owner USING time WHERE ${DEAD} RETURNING number),
    ${unknownOf('time', '$6', '$3')}
    SELECT time.looks::float8 AS looks, observed_ms::float8 AS observed, message, address,
      CASE WHEN waited THEN pg_notify('appengine_mailer', message) END
    FROM time LEFT JOIN lost ON true ORDER BY message, address`,
  /** $1: owner; $2: reason; $3: the wall clock. The owner leaves: what it has not settled is unknown. */
  leave: `
    WITH gone AS (DELETE FROM owner WHERE number = $1 RETURNING number),
    ${unknownOf('gone', '$2', '$3')}
    SELECT message, CASE WHEN waited THEN pg_notify('appengine_mailer', message) END FROM lost`,

  /** $1: before; all of these return how many they delete, and those with a LIMIT delete so many at most. */
  forgetMessages: `
    WITH old AS (
      DELETE FROM message WHERE name IN (
        SELECT name FROM message WHERE at < $1 ORDER BY at LIMIT ${limits.purgeRows} FOR UPDATE SKIP LOCKED)
      RETURNING name),
    forgotten AS (DELETE FROM recipient USING old WHERE message = old.name)
    SELECT count(*)::integer AS count FROM old`,
  forgetUnknown: `
    WITH old AS (
      DELETE FROM unknown WHERE number IN (
        SELECT number FROM unknown WHERE at < $1 ORDER BY at LIMIT ${limits.purgeRows} FOR UPDATE SKIP LOCKED)
      RETURNING number)
    SELECT count(*)::integer AS count FROM old`,
  forgetRanges: `
    WITH old AS (DELETE FROM gap WHERE at < $1 RETURNING low) SELECT count(*)::integer AS count FROM old`,
  /** $1: before. Verdicts on recipients that were not sent, which nobody will ask for any more. */
  forgetEnded: `
    WITH old AS (
      DELETE FROM recipient WHERE (message, address) IN (
        SELECT message, address FROM recipient WHERE state = 'ended' AND ended_at < $1
        ORDER BY ended_at LIMIT ${limits.purgeRows} FOR UPDATE SKIP LOCKED)
      RETURNING message)
    SELECT count(*)::integer AS count FROM old`,
  now: `SELECT ${NOW}::float8 AS now`,

  /**
   * $1: proxy; $2, $3, $4: names, labels and values of figures that are added to those of this proxy; $5, $6, $7: the same of
   * figures that are set, and those of all proxies.
   */
  keepFigures: `
    WITH used AS (
      INSERT INTO proxy (name, used_at) VALUES ($1, ${NOW})
      ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at),
    added AS (
      INSERT INTO figure AS kept (proxy, name, label, value)
      SELECT $1, added.* FROM unnest($2::text[], $3::text[], $4::bigint[]) AS added (name, label, value)
      ORDER BY name, label
      ON CONFLICT (proxy, name, label) DO UPDATE
        SET value = least(kept.value + excluded.value, ${Number.MAX_SAFE_INTEGER}))
    INSERT INTO figure (proxy, name, label, value)
    SELECT '', present.* FROM unnest($5::text[], $6::text[], $7::bigint[]) AS present (name, label, value)
    ORDER BY name, label
    ON CONFLICT (proxy, name, label) DO UPDATE SET value = excluded.value`,
  /** $1: proxy; $2: how many unknown recipients to count. The figures of this proxy and of all, and the time. */
  figures: `
    SELECT name, label, value::float8 AS value, ${NOW}::float8 AS now
    FROM figure WHERE proxy IN ('', $1)
    UNION ALL
    SELECT 'unknown_listed', '', count(*)::float8, ${NOW}::float8
    FROM (SELECT FROM unknown LIMIT $2) AS counted
    UNION ALL
    SELECT 'ledger_bytes', '', sum(pg_total_relation_size(oid))::float8, ${NOW}::float8
    FROM pg_class WHERE relnamespace = 'appengine_mailer'::regnamespace AND relkind = 'r'
    ORDER BY name, label`,
  /** $1: proxy; $2: step of the ring; $3: milliseconds. Notes, once in that time, that the figures are in use. */
  latestSample: `
    WITH used AS (UPDATE proxy SET used_at = ${NOW} WHERE name = $1 AND used_at < ${NOW} - $3::bigint)
    SELECT figures FROM sample WHERE proxy = $1 AND step_ms = $2 ORDER BY slot DESC LIMIT 1`,
  /** $1: proxy; $2, $3: steps and slots of the rings; $4: figures. Does what writeSample in sqlite/samples.ts does. */
  writeSample: `
    WITH ring AS (
      SELECT step_ms, slots, ${NOW} / step_ms AS slot
      FROM unnest($2::bigint[], $3::bigint[]) AS ring (step_ms, slots)),
    written AS (
      INSERT INTO sample (proxy, step_ms, slot, at, figures)
      SELECT $1, step_ms, slot, ${NOW}, $4 FROM ring
      ON CONFLICT (proxy, step_ms, slot) DO UPDATE SET at = excluded.at, figures = excluded.figures)
    DELETE FROM sample USING ring
    WHERE proxy = $1 AND sample.step_ms = ring.step_ms AND (sample.slot > ring.slot OR sample.slot <
      (SELECT max(slot) FROM sample AS kept WHERE kept.proxy = $1 AND kept.step_ms = ring.step_ms
        AND kept.slot <= ring.slot - ring.slots))`,
  /** $1: proxy; $2: step of the ring. */
  samples: `
    SELECT slot::float8 AS slot, at::float8 AS at, figures FROM sample
    WHERE proxy = $1 AND step_ms = $2 ORDER BY sample.slot`,
  /** $1: before. Figures of proxies that are not there any more. */
  forgetFigures: `
    WITH old AS (DELETE FROM proxy WHERE used_at < $1 RETURNING name),
    figures AS (DELETE FROM figure USING old WHERE proxy = old.name),
    samples AS (DELETE FROM sample USING old WHERE proxy = old.name)
    SELECT count(*)::integer AS count FROM old`,
});

/**
 * What the owners that are gone had begun is ended and listed as unknown; also what a statement has begun for an owner that was
 * taken for dead meanwhile. Only where `by`, a part of the statement, has a row.
 */
function unknownOf(by: string, reason: string, wall: string): string {
  return `lost AS (
      UPDATE recipient SET state = 'ended', owner = NULL, status = '4.4.2', reason = ${reason}, ended_at = ${NOW}
      WHERE state = 'begun' AND EXISTS (SELECT FROM ${by}) AND NOT EXISTS (
        SELECT FROM owner WHERE number = recipient.owner AND number NOT IN (SELECT number FROM gone))
      RETURNING message, address, waited),
    listed AS (
      INSERT INTO unknown (message, address, at, reason, listed_at)
      SELECT message, address, ${NOW}, ${reason}, ${wall} FROM lost ORDER BY message, address)`;
}
