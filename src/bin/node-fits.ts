import { systemCalls } from '../host/systemd/unix-datagram.ts';
import { stderrLine } from '../host/stderr-line.ts';
import Database from '../sqlite/better-sqlite3.ts';

// For the scripts of the Debian packages: whether this Node.js can load the native modules. Exits 1, and says why, when not.
try {
  new Database(':memory:').close();
  systemCalls();
} catch (error) {
  stderrLine((error as Error).message);
  process.exitCode = 1;
}
