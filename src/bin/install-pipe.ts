import { cpSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Copies what Exim needs of a checkout into a folder: exim-pipe and the snippets. Exim becomes another
 * user, who may not be let into a checkout in somebody's home.
 */
export function installPipe(checkout: string, to: string): void {
  const addon = 'node_modules/better-sqlite3/build/Release/better_sqlite3.node';
  cpSync(join(checkout, 'exim'), to, { recursive: true });
  cpSync(join(checkout, 'dist/exim-pipe.cjs'), join(to, 'exim-pipe.cjs'));
  cpSync(join(checkout, addon), join(to, addon));
}
