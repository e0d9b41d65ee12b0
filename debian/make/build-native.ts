import { compileAddon, isCompiled } from './compile-addon.ts';

// `npm run build:native [-- NODE_MODULES]`: compiles what Node.js 20 needs and cannot load yet. Later ones have a binary of
// Node-API in better-sqlite3, and need no compiler.
const folder = process.argv[2] ?? 'node_modules';
const isNode20 = process.version.startsWith('v20.');
if (isNode20 && !isCompiled(folder)) compileAddon(folder);
