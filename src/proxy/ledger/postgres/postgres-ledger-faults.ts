import { limits } from '../../../limits.ts';
import { PostgresLedgerReader } from './postgres-ledger-reader.ts';

/**
 * What contradicts itself in a ledger, as sentences: the server's own constraints allow nothing else that is wrong. Changes
 * nothing, and may be asked beside the proxies. Rejects as PostgresLedgerReader.open does.
 */
export async function postgresLedgerFaults(name: string): Promise<string[]> {
  const reader = await PostgresLedgerReader.open(name);
  try {
    const faults: string[] = [];
    // One snapshot for all: proxies go on meanwhile.
    await reader.rows('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    for (const [fault, text] of Object.entries(FAULTS)) {
      const rows = await reader.rows<{ name: string }>(`${text} LIMIT ${limits.namedFaults}`);
      if (rows.length === 0) continue;
      faults.push(`${fault}: ${rows.map((row) => row.name).join(', ')}`);
    }
    await reader.rows('COMMIT');
    return faults;
  } finally {
    await reader.close();
  }
}

/** Each has a column `name`, and no row where nothing is wrong. */
const FAULTS: Readonly<Record<string, string>> = {
  'a table has lost its row': `
    SELECT 'ledger' AS name WHERE NOT EXISTS (SELECT FROM ledger)
    UNION ALL SELECT 'clock' WHERE NOT EXISTS (SELECT FROM clock)`,
  'an index is not valid (REINDEX INDEX)': `
    SELECT indexrelid::regclass::text AS name FROM pg_index
    WHERE NOT indisvalid AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'appengine_mailer'::regnamespace)`,
  'a recipient belongs to no message': `
    SELECT DISTINCT message AS name FROM recipient
    WHERE NOT EXISTS (SELECT FROM message WHERE message.name = recipient.message)`,
  'a message was posted later than now': `
    SELECT name FROM message WHERE at > (SELECT observed_ms FROM clock)`,
};
