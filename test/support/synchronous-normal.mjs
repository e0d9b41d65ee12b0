// Loaded into a program by NODE_OPTIONS=--import=…, gives its databases what better-sqlite3 would give
// them: synchronous=NORMAL, which does not wait for the disk at each commit.
const built = new URL('../../dist/sqlite/better-sqlite3.js', import.meta.url);
const { prototype } = (await import(built.href)).default;

const pragma = Reflect.get(prototype, 'pragma');
/** @type {(this: unknown, text: string, ...rest: unknown[]) => unknown} */
prototype.pragma = function (text, ...rest) {
  const weaker = text.replace('synchronous = FULL', 'synchronous = NORMAL');
  return Reflect.apply(pragma, this, [weaker, ...rest]);
};
