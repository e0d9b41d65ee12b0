import Latest from 'better-sqlite3';
import ForNode20 from 'better-sqlite3-node20';

/**
 * What the databases of every program inherit from, whichever version it loads (src/sqlite/better-sqlite3.ts): bundled
 * programs have this class from the packages too.
 */
export const sqlitePrototypes = [Latest.prototype, ForNode20.prototype];
