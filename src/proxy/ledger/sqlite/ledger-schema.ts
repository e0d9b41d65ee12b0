import { FIGURE_TABLES } from '../../../sqlite/figures.ts';

/**
 * A message is named as storedName does it: KEY/ID, or ID for keys without a name, as it was for all keys up to schema 3.
 * One word and not two columns: so no row of an older ledger has to be written anew, and a damaged one of any schema
 * can be read.
 *
 * message    a message that was posted: SHA-256 of its bytes, and when it was last posted; zeros stand for a digest that
 *            damage has lost, and then that of the next post counts. doubtful: it is suspect, since it was posted before
 *            the ledger was damaged: recipients that are not known as sent may have been
 * recipient  begun: given to the backend, no answer yet; sent: its verdict, for repeats. A recipient that was refused
 *            or deferred has no row: it is tried anew when it is posted anew
 * unknown    recipients of whom nobody can know whether they were sent, and when that was listed: at and, for people,
 *            listed_at
 * gap        between which ids a damaged ledger has lost messages, and when that was found: a message that is new there
 *            is suspect
 * checked    one row, written to find out whether the ledger can be written
 * identity   one row: the id of this ledger, by which hosts know that two proxies share it
 * pace       one row: what was spent of the quotas of --pace and --pace-day (pace/spending.ts)
 * figure     what proxies count of their work (proxy/proxy-figures.ts); sample: all figures as they were, for plots
 * clock      one row: observed time (sqlite/observed-time.ts), in milliseconds, and when it was written down
 * Times are in observed time; listed_at and written_at are by the wall clock, in milliseconds since 1970 UTC.
 */
export const migrations: readonly string[] = [
  `
CREATE TABLE message (
  id TEXT PRIMARY KEY,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX message_at ON message (at);

CREATE TABLE recipient (
  message TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
  address TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('begun', 'sent')),
  status TEXT CHECK ((status IS NOT NULL) = (state = 'sent') AND status GLOB '2.[0-9]*.[0-9]*'),
  reason TEXT CHECK ((reason IS NOT NULL) = (state = 'sent')),
  PRIMARY KEY (message, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_begun ON recipient (message) WHERE state = 'begun';

CREATE TABLE unknown (
  message TEXT NOT NULL,
  address TEXT NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX unknown_at ON unknown (at);

CREATE TABLE checked (times INTEGER NOT NULL) STRICT;
INSERT INTO checked VALUES (0);
`,
  `
CREATE TABLE gap (low TEXT NOT NULL, high TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX unknown_message ON unknown (message);
ALTER TABLE message ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1));
`,
  // Observed time begins at 30 days. The wall clock may be wrong at this moment: so all counts as posted now.
  `
CREATE TABLE clock (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  observed_ms INTEGER NOT NULL CHECK (observed_ms BETWEEN 0 AND 1000000000000000),
  written_at INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 2592000000, CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER));

ALTER TABLE unknown ADD COLUMN listed_at INTEGER NOT NULL DEFAULT 0;
UPDATE unknown SET listed_at = at, at = 2592000000;
UPDATE message SET at = 2592000000;
UPDATE gap SET at = 2592000000;
`,
  // Nothing changes; but a program that knows no names of keys would send again what was sent with one.
  '-- message.id, recipient.message, unknown.message: KEY/ID',
  `
CREATE TABLE identity (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  id TEXT NOT NULL CHECK (length(id) = 32)
) STRICT;
INSERT INTO identity VALUES (1, lower(hex(randomblob(16))));
`,
  `
CREATE TABLE pace (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  spent TEXT NOT NULL
) STRICT;
`,
  FIGURE_TABLES,
];

/** The file for openDatabase: what messages call it, and its schema. */
export const ledgerSchema = { name: 'ledger', migrations } as const;
