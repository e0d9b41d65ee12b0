import { compileAddon, isCompiled } from './compile-addon.ts';

// `npm run build:native [-- NODE_MODULES]`: compiles the native modules that this Node.js cannot load yet.
const folder = process.argv[2] ?? 'node_modules';
for (const addon of ['better-sqlite3', 'unix-dgram']) {
  if (!isCompiled(folder, addon)) compileAddon(folder, addon);
}
