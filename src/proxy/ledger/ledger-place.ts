import { resolve } from 'node:path';
import { isPostgres } from './postgres/postgres-url.ts';

/** What --ledger names. */
export interface LedgerPlace {
  kind: 'file' | 'postgres';
  /** The absolute path of the file, for a journal that may be read where the working directory is not known; or the URL. */
  name: string;
}

/** The place that a text names, which may be a relative path. */
export function ledgerPlace(text: string): LedgerPlace {
  if (isPostgres(text)) return { kind: 'postgres', name: text };
  return { kind: 'file', name: resolve(text) };
}

/** The folder of the service: its working directory, where its ledger is unless a setting names another. */
export const SERVICE_FOLDER = '/var/lib/appengine-mailer-proxy';
