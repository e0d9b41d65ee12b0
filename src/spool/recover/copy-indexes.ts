import { copyRows, type Gap } from '../../sqlite/recover/copy-rows.ts';
import type { Database } from '../../sqlite/open-database.ts';
import type { SalvageSource } from '../../sqlite/recover/rebuild-database.ts';

/**
 * Copies what can be read of a damaged spool's indexes into temporary tables, because they repeat what their
 * tables may have lost, and with it the old counters and numbers: by_id, by_exim_id, by_state, by_address,
 * old_counter, old_sequence. Returns the gaps in each of these.
 */
export function copyIndexes(db: Database, remains: SalvageSource): Map<string, readonly Gap[]> {
  db.exec(TABLES);
  const copies = Object.entries(SOURCES);
  return new Map(copies.map(([table, name]) => [table, copyRows(db, table, remains.rows(name))]));
}

const TABLES = `
CREATE TEMP TABLE by_id (
  id TEXT NOT NULL CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'),
  seq INTEGER PRIMARY KEY
) STRICT;
CREATE TEMP TABLE by_exim_id (
  exim_id TEXT NOT NULL
    CHECK (length(exim_id) BETWEEN 1 AND 64 AND exim_id NOT GLOB '*[^0-9A-Za-z-]*'),
  seq INTEGER PRIMARY KEY
) STRICT;
CREATE TEMP TABLE by_state (state TEXT NOT NULL, due_at INTEGER, seq INTEGER PRIMARY KEY) STRICT;
CREATE TEMP TABLE by_address (
  message INTEGER NOT NULL,
  address BLOB NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (message, position)
) STRICT;
CREATE TEMP TABLE old_counter (
  name TEXT NOT NULL,
  messages INTEGER NOT NULL,
  bytes INTEGER NOT NULL DEFAULT 0,
  entered INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TEMP TABLE old_sequence (name TEXT NOT NULL, seq INTEGER NOT NULL) STRICT;
`;
const SOURCES = {
  by_id: 'sqlite_autoindex_message_1',
  by_exim_id: 'message_exim_id',
  by_state: 'message_state',
  by_address: 'sqlite_autoindex_recipient_2',
  old_counter: 'counter',
  old_sequence: 'sqlite_sequence',
} as const;
