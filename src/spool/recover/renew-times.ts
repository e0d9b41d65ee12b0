import type { Database } from '../../sqlite/open-database.ts';

/**
 * Lets all times of a repaired spool begin at `now`, its observed time. Nothing vouches for them, nor for the clock that
 * they were read from: by one that is spoiled a message would be too old, and its sender told so, or forgotten. Only
 * when it was posted first is not renewed: what may be longer ago than the proxy remembers is long ago.
 */
export function renewTimes(db: Database, now: number): void {
  for (const sql of RENEW) db.prepare(sql).run({ now });
}

const RENEW = [
  'UPDATE endpoint SET down_since = :now, asks_at = :now WHERE down_since IS NOT NULL',
  'UPDATE endpoint SET fallback_since = min(fallback_since, :now)',
  'UPDATE proxy SET since = min(since, :now)',
  `UPDATE message SET renewed_at = :now, outage_ms = endpoint.outage_ms,
     due_at = iif(due_at IS NULL, NULL, :now), finished_at = iif(finished_at IS NULL, NULL, :now),
     posted_at = iif(posted_at > :now, 0, posted_at) FROM endpoint`,
  'UPDATE notice SET due_at = min(due_at, :now)',
  'UPDATE told SET at = :now',
];
