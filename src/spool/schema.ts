import { FIGURE_TABLES } from '../sqlite/figures.ts';

/**
 * The spool's schema, as append-only migrations: number N brings PRAGMA user_version from N - 1 to N.
 * src/README.md has the table of states that the CHECK constraints repeat.
 *
 * message
 *   seq          order of arrival; AUTOINCREMENT never gives a number again
 *   id           a UUID version 7 in hex, or 128 random bits where it is older: what everybody sees and the proxy remembers
 *   exim_id      Exim's id, opaque; with digest and address the key of law 2
 *   digest       SHA-256 of the message's bytes
 *   sender       octets of the envelope sender, empty for the null sender
 *   due_at       when it is to be claimed next; only while queued
 *   attempts     posts that were answered about this message; an outage charges none
 *   deferrals    of these, how many deferred it in a row since its lifetime began: the backoff
 *   posted_at    when it was first posted; null when never
 *   renewed_at   when its lifetime began: its first post, or an operator's retry or release; its
 *                arrival while it was not posted
 *   outage_ms    the endpoint's outage counter at that moment
 *   finished_at  when no recipient was pending any more
 *   warned       how many delay warnings were sent, or are pending, since its lifetime began
 *   posted_to    the proxy to which it was posted last, from its claim until that has answered for all recipients: only
 *                the ledger of this proxy knows what became of them
 *   last_status, last_reason   what the last attempt came to, also by a fault of the endpoint
 * body           the message's bytes, apart, so that a change of state does not rewrite them, and in parts
 *                of 1 MiB (limits.bodyPartBytes), so that nobody has to hold a large message in memory
 * recipient      address as octets; status and reason of its last verdict, and remote_mta whose reply that was in SMTP
 * notice         what is owed to the sender of a message: a failure report, owed by a trigger in the transaction
 *                that fails a recipient, or a delay warning. collected: it is batched, a summary is to tell it
 * told           when senders got a report, as far as it counts for limits.reportsPerHour
 * counter        law 8, in messages and in bytes, kept by triggers, so that it outlives the rows; damaged by rebuild-spool.ts.
 *                entered: how many messages ever came into the state, which never decreases
 * figure         what drain counts of its work; see sqlite/figures.ts and drain/turn-figures.ts
 * sample         all figures as they were at the end of a time of step_ms, for plots; see spool/samples.ts
 * endpoint       one row: outage_ms adds up the outages that are over, down_since is the present one,
 *                in which drain asks again at asks_at. lifetime_ms is how long drain tries a message
 *                fallback_…: since when posts go to another proxy than the first, to which, and why
 * proxy          a proxy to which messages were posted, and the ledger that it showed, empty where it showed none; since:
 *                when it began to show this one. See posted-to.ts
 * history        what happened to a message, numbered; see history.ts
 * transfer       each file that `queue export` made of this spool, or `queue import` read into it, in their order; kept for
 *                good, so that no file is ever read twice, nor into the spool that it was made of
 * moved          the latest transfer of a message; while that is an export that is not ended, nobody touches the message
 * clock          one row: observed time (sqlite/observed-time.ts), in milliseconds, and when it was written down
 * Tables of one row have a column `only`, which is 1. Some names (notice, told, collected, warned, only) are older than the
 * words of the code. They stay: a migration would only make every spool unreadable for the version before it.
 * Times are in observed time, because they decide what becomes of mail. What people read is by the wall clock, in
 * milliseconds since 1970 UTC: queued_at, passed_at, written_at, and at in history.
 */
export const migrations: readonly string[] = [
  `
CREATE TABLE message (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'),
  exim_id TEXT NOT NULL
    CHECK (length(exim_id) BETWEEN 1 AND 64 AND exim_id NOT GLOB '*[^0-9A-Za-z-]*'),
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  sender BLOB NOT NULL,
  size INTEGER NOT NULL CHECK (size >= 0),
  state TEXT NOT NULL
    CHECK (state IN ('queued', 'sending', 'held', 'failed', 'sent', 'bounced', 'deleted')),
  queued_at INTEGER NOT NULL,
  due_at INTEGER CHECK ((due_at IS NOT NULL) = (state = 'queued')),
  attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  deferrals INTEGER NOT NULL DEFAULT 0 CHECK (deferrals BETWEEN 0 AND attempts),
  posted_at INTEGER CHECK (posted_at IS NOT NULL OR attempts = 0),
  renewed_at INTEGER NOT NULL,
  outage_ms INTEGER NOT NULL CHECK (outage_ms >= 0),
  finished_at INTEGER
    CHECK ((finished_at IS NOT NULL) = (state IN ('failed', 'sent', 'bounced', 'deleted'))),
  last_status TEXT CHECK (last_status GLOB '[245].[0-9]*.[0-9]*'),
  last_reason TEXT CHECK ((last_reason IS NULL) = (last_status IS NULL))
) STRICT;
CREATE INDEX message_state ON message (state, due_at);
CREATE INDEX message_exim_id ON message (exim_id);
CREATE INDEX message_listed ON message (seq) WHERE state IN ('queued', 'sending', 'held', 'failed');
CREATE INDEX message_finished ON message (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE body (
  message INTEGER NOT NULL REFERENCES message (seq) ON DELETE CASCADE,
  part INTEGER NOT NULL CHECK (part >= 0),
  bytes BLOB NOT NULL,
  PRIMARY KEY (message, part)
) STRICT;

CREATE TABLE recipient (
  message INTEGER NOT NULL REFERENCES message (seq) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  address BLOB NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'sent', 'failed', 'bounced', 'deleted')),
  status TEXT CHECK (status GLOB '[245].[0-9]*.[0-9]*'),
  reason TEXT CHECK ((reason IS NULL) = (status IS NULL)),
  PRIMARY KEY (message, position),
  UNIQUE (message, address),
  CHECK (CASE state
    WHEN 'pending' THEN status IS NULL OR status GLOB '4.*'
    WHEN 'sent' THEN status IS NOT NULL AND status GLOB '2.*'
    WHEN 'deleted' THEN 1
    ELSE status IS NOT NULL AND status GLOB '5.*' END)
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (
  name TEXT PRIMARY KEY,
  messages INTEGER NOT NULL DEFAULT 0 CHECK (messages >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name) VALUES ('accepted'), ('queued'), ('sending'), ('held'), ('failed'),
  ('sent'), ('bounced'), ('deleted');
CREATE TRIGGER message_accepted AFTER INSERT ON message BEGIN
  UPDATE counter SET messages = messages + 1 WHERE name IN ('accepted', NEW.state);
END;
CREATE TRIGGER message_moved AFTER UPDATE OF state ON message WHEN NEW.state <> OLD.state BEGIN
  UPDATE counter SET messages = messages - 1 WHERE name = OLD.state;
  UPDATE counter SET messages = messages + 1 WHERE name = NEW.state;
END;
CREATE TRIGGER message_unfinished BEFORE DELETE ON message WHEN OLD.finished_at IS NULL BEGIN
  SELECT raise(ABORT, 'an unfinished message must not be forgotten');
END;

CREATE TABLE endpoint (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  down_since INTEGER,
  outage_ms INTEGER NOT NULL DEFAULT 0 CHECK (outage_ms >= 0),
  reason TEXT,
  passed_at INTEGER,
  CHECK ((reason IS NULL) = (down_since IS NULL))
) STRICT;
INSERT INTO endpoint (only) VALUES (1);
`,
  `
ALTER TABLE message ADD COLUMN warned INTEGER NOT NULL DEFAULT 0 CHECK (warned >= 0);

CREATE TABLE notice (
  message INTEGER NOT NULL REFERENCES message (seq) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('failure', 'delay')),
  sender BLOB NOT NULL CHECK (length(sender) > 0),
  due_at INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  collected INTEGER NOT NULL DEFAULT 0 CHECK (collected IN (0, 1)),
  PRIMARY KEY (message, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_due ON notice (due_at);
CREATE INDEX notice_sender ON notice (sender, collected);

CREATE TABLE told (sender BLOB NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX told_sender ON told (sender, at);
CREATE INDEX told_at ON told (at);
CREATE INDEX message_failed ON message (finished_at) WHERE state = 'failed';

CREATE TRIGGER recipient_failed AFTER UPDATE OF state ON recipient
  WHEN NEW.state = 'failed' AND OLD.state <> 'failed' BEGIN
  INSERT INTO notice (message, kind, sender)
    SELECT seq, 'failure', sender FROM message WHERE seq = NEW.message AND sender <> x''
    ON CONFLICT DO NOTHING;
END;
INSERT INTO notice (message, kind, sender)
  SELECT DISTINCT seq, 'failure', sender FROM message JOIN recipient ON recipient.message = seq
  WHERE recipient.state = 'failed' AND sender <> x'';
`,
  `
CREATE TABLE history (
  message INTEGER NOT NULL REFERENCES message (seq) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number > 0),
  at INTEGER NOT NULL,
  what TEXT NOT NULL
    CHECK (what IN ('attempt', 'postponed', 'retry', 'hold', 'release', 'bounce', 'delete',
      'return', 'returned', 'kept', 'reported', 'warned')),
  status TEXT CHECK (status GLOB '[245].[0-9]*.[0-9]*'),
  reason TEXT,
  PRIMARY KEY (message, number),
  CHECK ((status IS NOT NULL) = (what IN ('attempt', 'postponed'))),
  CHECK ((reason IS NOT NULL) = (what IN ('attempt', 'postponed', 'kept')))
) STRICT, WITHOUT ROWID;

ALTER TABLE endpoint ADD COLUMN asks_at INTEGER CHECK (asks_at IS NULL OR down_since IS NOT NULL);
`,
  `
INSERT OR IGNORE INTO counter (name) VALUES ('damaged');
`,
  // Observed time begins at 30 days. The wall clock may be wrong at this moment: so it decides only whether the proxy may
  // have forgotten a message, and when one is tried next; all else begins anew.
  `
CREATE TABLE clock (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  observed_ms INTEGER NOT NULL CHECK (observed_ms BETWEEN 0 AND 1000000000000000),
  written_at INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 2592000000, CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER));

UPDATE endpoint SET
  down_since = iif(down_since IS NULL, NULL, 2592000000),
  asks_at = iif(asks_at IS NULL, NULL, 2592000000);
UPDATE message SET
  due_at = max(0, 2592000000 + min(due_at - written_at, 2160000)),
  posted_at = min(2592000000, max(0, 2592000000 + posted_at - written_at)),
  renewed_at = 2592000000,
  outage_ms = endpoint.outage_ms,
  finished_at = iif(finished_at IS NULL, NULL, 2592000000) FROM clock, endpoint;
UPDATE notice SET due_at = max(0, 2592000000 + min(due_at - written_at, 3600000)) FROM clock;
UPDATE told SET at = 2592000000;
`,
  `
ALTER TABLE endpoint ADD COLUMN calls INTEGER NOT NULL DEFAULT 0 CHECK (calls >= 0);
ALTER TABLE recipient ADD COLUMN remote_mta TEXT;
`,
  // How large messages were that are forgotten by now nobody knows: they count with 0 bytes. The bounds are for a size
  // that is damaged: no sum is to fail by it, because its message is to be held. What JavaScript counts exactly is below.
  `
ALTER TABLE counter ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0);
UPDATE counter SET bytes = there.bytes
  FROM (SELECT state, sum(size) AS bytes FROM message GROUP BY state) AS there
  WHERE there.state = counter.name;
UPDATE counter SET bytes = (SELECT sum(bytes) FROM counter) WHERE name = 'accepted';
DROP TRIGGER message_accepted;
DROP TRIGGER message_moved;
CREATE TRIGGER message_accepted AFTER INSERT ON message BEGIN
  UPDATE counter SET messages = messages + 1, bytes = min(bytes + NEW.size, 9000000000000000)
    WHERE name IN ('accepted', NEW.state);
END;
CREATE TRIGGER message_moved AFTER UPDATE OF state ON message WHEN NEW.state <> OLD.state BEGIN
  UPDATE counter SET messages = messages - 1, bytes = max(bytes - OLD.size, 0)
    WHERE name = OLD.state;
  UPDATE counter SET messages = messages + 1, bytes = min(bytes + NEW.size, 9000000000000000)
    WHERE name = NEW.state;
END;
`,
  `
ALTER TABLE endpoint ADD COLUMN lifetime_ms INTEGER NOT NULL DEFAULT 432000000 CHECK (lifetime_ms > 0);
`,
  `
CREATE TABLE transfer (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE CHECK (length(name) = 32 AND name NOT GLOB '*[^0-9a-f]*'),
  what TEXT NOT NULL CHECK (what IN ('export', 'import')),
  state TEXT NOT NULL DEFAULT 'begun'
    CHECK (state = 'begun' OR what = 'export' AND state IN ('confirmed', 'taken back') OR what = 'import' AND state = 'done'),
  file TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX transfer_file ON transfer (file);

CREATE TABLE moved (
  message INTEGER PRIMARY KEY REFERENCES message (seq) ON DELETE CASCADE,
  transfer INTEGER NOT NULL REFERENCES transfer (number),
  was_held INTEGER NOT NULL CHECK (was_held IN (0, 1))
) STRICT;
CREATE INDEX moved_transfer ON moved (transfer);
`,
  `
ALTER TABLE counter ADD COLUMN entered INTEGER NOT NULL DEFAULT 0 CHECK (entered >= 0);
UPDATE counter SET entered = messages;
DROP TRIGGER message_accepted;
DROP TRIGGER message_moved;
CREATE TRIGGER message_accepted AFTER INSERT ON message BEGIN
  UPDATE counter SET messages = messages + 1, entered = entered + 1,
    bytes = min(bytes + NEW.size, 9000000000000000) WHERE name IN ('accepted', NEW.state);
END;
CREATE TRIGGER message_moved AFTER UPDATE OF state ON message WHEN NEW.state <> OLD.state BEGIN
  UPDATE counter SET messages = messages - 1, bytes = max(bytes - OLD.size, 0)
    WHERE name = OLD.state;
  UPDATE counter SET messages = messages + 1, entered = entered + 1,
    bytes = min(bytes + NEW.size, 9000000000000000) WHERE name = NEW.state;
END;
${FIGURE_TABLES}`,
  // A message that an earlier program was posting may go to any proxy: nobody knows where it was posted.
  `
CREATE TABLE proxy (
  number INTEGER PRIMARY KEY,
  url TEXT NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
  ledger TEXT NOT NULL CHECK (length(ledger) <= 64),
  since INTEGER NOT NULL,
  UNIQUE (url, ledger)
) STRICT;
CREATE INDEX proxy_since ON proxy (url, since);
ALTER TABLE message ADD COLUMN posted_to INTEGER;
CREATE INDEX message_posted_to ON message (posted_to) WHERE posted_to IS NOT NULL;

ALTER TABLE endpoint ADD COLUMN fallback_url TEXT CHECK (length(fallback_url) <= 2048);
ALTER TABLE endpoint ADD COLUMN fallback_reason TEXT
  CHECK ((fallback_reason IS NULL) = (fallback_url IS NULL));
ALTER TABLE endpoint ADD COLUMN fallback_since INTEGER
  CHECK ((fallback_since IS NULL) = (fallback_url IS NULL));
`,
  // How many messages wait, or are being sent, of those that were queued in a minute by the wall clock.
  `
CREATE TABLE waiting (minute INTEGER PRIMARY KEY, messages INTEGER NOT NULL) STRICT;
INSERT INTO waiting (minute, messages)
  SELECT queued_at / 60000, count(*) FROM message WHERE state IN ('queued', 'sending') GROUP BY 1;
CREATE TRIGGER message_begins_to_wait AFTER INSERT ON message
  WHEN NEW.state IN ('queued', 'sending') BEGIN
  INSERT INTO waiting (minute, messages) VALUES (NEW.queued_at / 60000, 1)
    ON CONFLICT DO UPDATE SET messages = messages + 1;
END;
CREATE TRIGGER message_waits_again AFTER UPDATE OF state, queued_at ON message
  WHEN NEW.state IN ('queued', 'sending')
    AND (OLD.state NOT IN ('queued', 'sending') OR NEW.queued_at <> OLD.queued_at) BEGIN
  INSERT INTO waiting (minute, messages) VALUES (NEW.queued_at / 60000, 1)
    ON CONFLICT DO UPDATE SET messages = messages + 1;
END;
CREATE TRIGGER message_waits_no_more AFTER UPDATE OF state, queued_at ON message
  WHEN OLD.state IN ('queued', 'sending')
    AND (NEW.state NOT IN ('queued', 'sending') OR NEW.queued_at <> OLD.queued_at) BEGIN
  UPDATE waiting SET messages = messages - 1 WHERE minute = OLD.queued_at / 60000;
  DELETE FROM waiting WHERE minute = OLD.queued_at / 60000 AND messages <= 0;
END;
`,
];
