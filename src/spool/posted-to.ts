import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/** A proxy to which a message was posted: its URL, and the id of the ledger that it showed, null where it showed none. */
export interface PostedTo {
  url: string;
  ledger: string | null;
}

/**
 * The number by which messages refer to a proxy with the ledger that it shows now. Runs inside the caller's
 * transaction, before anything is posted.
 */
export function proxyNumber(spool: Spool, { url, ledger }: PostedTo, now: number): number {
  const present = spool
    .sql<{ number: number; ledger: string }>(
      'SELECT number, ledger FROM proxy WHERE url = ? ORDER BY since DESC, number DESC LIMIT 1',
    )
    .get(url);
  const shown = ledger ?? '';
  if (present?.ledger === shown) return present.number;
  const row = spool
    .sql<{ number: number }>(
      `INSERT INTO proxy (url, ledger, since) VALUES (:url, :shown, :now)
       ON CONFLICT (url, ledger) DO UPDATE SET since = :now RETURNING number`,
    )
    .get({ url, shown, now });
  if (!row) throw new Error('the spool has lost a proxy that was just written');
  return row.number;
}

/** The proxy of that number; undefined when there is none, as in a spool that was damaged. */
export function proxyOf(spool: Spool, number: number): PostedTo | undefined {
  return spool
    .sql<PostedTo>(`SELECT url, nullif(ledger, '') AS ledger FROM proxy WHERE number = ?`)
    .get(number);
}

/** The proxy that may have sent a message without having answered; undefined when there is none. */
export function unansweredBy(spool: Spool, seq: number): PostedTo | undefined {
  const row = spool
    .sql<{ number: number }>(
      'SELECT posted_to AS number FROM message WHERE seq = ? AND posted_to IS NOT NULL',
    )
    .get(seq);
  return row && proxyOf(spool, row.number);
}

/** The ledger that the proxy of a URL showed last; null when it never showed one. */
export function ledgerOf(spool: Spool, url: string): string | null {
  const row = spool
    .sql<{ ledger: string | null }>(
      `SELECT nullif(ledger, '') AS ledger FROM proxy WHERE url = ?
       ORDER BY since DESC, number DESC LIMIT 1`,
    )
    .get(url);
  return row?.ledger ?? null;
}

/** Makes due the messages that wait for this proxy, or for another one with its ledger. Runs inside the caller's transaction. */
export function makeWaitingDue(spool: Spool, { url, ledger }: PostedTo, now: number): void {
  spool
    .sql(
      `UPDATE message SET due_at = :now WHERE state = 'queued' AND due_at > :now AND posted_to IN
         (SELECT number FROM proxy WHERE iif(ledger = '', url = :url, ledger = :ledger))`,
    )
    .run({ url, ledger: ledger ?? '', now });
}

/** The URLs of all proxies, and since when drain has these; in observed time. */
export interface UrlsInUse {
  urls: readonly string[];
  inUseSince: number;
}

/** A proxy for which no message waits any more, and how many did. */
export interface GivenUp extends PostedTo {
  messages: number;
}

/**
 * Lets messages go to any proxy that waited for one which does not come back: neither it nor another one with its ledger is
 * there. One is there while an operator has its URL among the `urls`, unless that URL has shown another ledger for
 * limits.ledgerGoneMs. One whose URL is not among them may be there under a new URL that was not posted to yet, for as long
 * after `inUseSince`. Forgets proxies that are of no use any more.
 */
export function giveUpProxies(
  spool: Spool,
  { urls, inUseSince }: UrlsInUse,
  now: number,
): GivenUp[] {
  const before = now - limits.ledgerGoneMs;
  const present = `WITH present AS (SELECT number, ledger FROM proxy
    WHERE iif(url IN (SELECT value FROM json_each(:urls)),
      ledger = '' OR
        NOT EXISTS (SELECT 1 FROM proxy AS later
          WHERE later.url = proxy.url AND later.since > proxy.since AND later.since <= :before),
      :inUseSince > :before AND
        EXISTS (SELECT 1 FROM json_each(:urls) WHERE value NOT IN (SELECT url FROM proxy))))`;
  const when = { urls: JSON.stringify(urls), inUseSince, before };
  return spool.transaction(() => {
    const givenUp = spool
      .sql<PostedTo & { number: number }>(
        `${present} SELECT number, url, nullif(ledger, '') AS ledger FROM proxy AS old
         WHERE number NOT IN (SELECT number FROM present)
           AND NOT EXISTS (SELECT 1 FROM present WHERE ledger = old.ledger AND ledger <> '')`,
      )
      .all(when)
      .map(({ number, ...proxy }) => ({ ...proxy, messages: freeMessages(spool, number, now) }));
    spool
      .sql(
        `${present} DELETE FROM proxy WHERE number NOT IN (SELECT number FROM present)
           AND number NOT IN (SELECT posted_to FROM message WHERE posted_to IS NOT NULL)`,
      )
      .run(when);
    return givenUp.filter(({ messages }) => messages > 0);
  });
}

function freeMessages(spool: Spool, number: number, now: number): number {
  return spool
    .sql(
      `UPDATE message SET posted_to = NULL, due_at = iif(state = 'queued', :now, NULL)
       WHERE posted_to = :number AND state <> 'sending'`,
    )
    .run({ number, now }).changes;
}
