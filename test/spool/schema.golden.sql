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
, warned INTEGER NOT NULL DEFAULT 0 CHECK (warned >= 0), posted_to INTEGER) STRICT;

CREATE TABLE sqlite_sequence(name,seq);

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
  reason TEXT CHECK ((reason IS NULL) = (status IS NULL)), remote_mta TEXT,
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
, bytes INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0), entered INTEGER NOT NULL DEFAULT 0 CHECK (entered >= 0)) STRICT, WITHOUT ROWID;

CREATE TRIGGER message_unfinished BEFORE DELETE ON message WHEN OLD.finished_at IS NULL BEGIN
  SELECT raise(ABORT, 'an unfinished message must not be forgotten');
END;

CREATE TABLE endpoint (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  down_since INTEGER,
  outage_ms INTEGER NOT NULL DEFAULT 0 CHECK (outage_ms >= 0),
  reason TEXT,
  passed_at INTEGER, asks_at INTEGER CHECK (asks_at IS NULL OR down_since IS NOT NULL), calls INTEGER NOT NULL DEFAULT 0 CHECK (calls >= 0), lifetime_ms INTEGER NOT NULL DEFAULT 432000000 CHECK (lifetime_ms > 0), fallback_url TEXT CHECK (length(fallback_url) <= 2048), fallback_reason TEXT
  CHECK ((fallback_reason IS NULL) = (fallback_url IS NULL)), fallback_since INTEGER
  CHECK ((fallback_since IS NULL) = (fallback_url IS NULL)),
  CHECK ((reason IS NULL) = (down_since IS NULL))
) STRICT;

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

CREATE TABLE clock (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  observed_ms INTEGER NOT NULL CHECK (observed_ms BETWEEN 0 AND 1000000000000000),
  written_at INTEGER NOT NULL
) STRICT;

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

CREATE TABLE figure (
  name TEXT NOT NULL,
  label TEXT NOT NULL,
  value INTEGER NOT NULL CHECK (value >= 0),
  PRIMARY KEY (name, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE sample (
  step_ms INTEGER NOT NULL CHECK (step_ms > 0),
  slot INTEGER NOT NULL CHECK (slot >= 0),
  at INTEGER NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (step_ms, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE proxy (
  number INTEGER PRIMARY KEY,
  url TEXT NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
  ledger TEXT NOT NULL CHECK (length(ledger) <= 64),
  since INTEGER NOT NULL,
  UNIQUE (url, ledger)
) STRICT;

CREATE INDEX proxy_since ON proxy (url, since);

CREATE INDEX message_posted_to ON message (posted_to) WHERE posted_to IS NOT NULL;

CREATE TABLE waiting (minute INTEGER PRIMARY KEY, messages INTEGER NOT NULL) STRICT;

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
