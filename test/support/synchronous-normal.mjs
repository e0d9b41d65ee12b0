// Loaded into a program by NODE_OPTIONS=--import=…, gives its databases what better-sqlite3 would give
// them: synchronous=NORMAL, which does not wait for the disk at each commit.
import Database from '../../dist/sqlite/better-sqlite3.js';

const pragma = Reflect.get(Database.prototype, 'pragma');
Database.prototype.pragma = function (text, ...rest) {
  const weaker = text.replace('synchronous = FULL', 'synchronous = NORMAL');
  return Reflect.apply(pragma, this, [weaker, ...rest]);
};
