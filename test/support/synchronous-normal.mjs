// Loaded into a program by NODE_OPTIONS=--import=…, gives its databases what better-sqlite3 would give
// them: synchronous=NORMAL, which does not wait for the disk at each commit.
import { sqlitePrototypes } from './sqlite-prototypes.mjs';

for (const prototype of sqlitePrototypes) {
  const pragma = Reflect.get(prototype, 'pragma');
  prototype.pragma = function (text, ...rest) {
    const weaker = text.replace('synchronous = FULL', 'synchronous = NORMAL');
    return Reflect.apply(pragma, this, [weaker, ...rest]);
  };
}
