import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { binaries } from '../sqlite/better-sqlite3.ts';

/**
 * Copies what Exim needs of a checkout into a folder: exim-pipe and the snippets. Exim becomes another
 * user, who may not be let into a checkout in somebody's home.
 */
export function installPipe(checkout: string, to: string): void {
  cpSync(join(checkout, 'exim'), to, { recursive: true });
  cpSync(join(checkout, 'dist/exim-pipe.cjs'), join(to, 'exim-pipe.cjs'));
  // Exim's node may be another than this one.
  for (const binary of Object.values(binaries)) {
    const file = join('node_modules', binary);
    if (existsSync(join(checkout, file))) cpSync(join(checkout, file), join(to, file));
  }
}
