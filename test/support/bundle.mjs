import { buildSync } from 'esbuild';

// `npm run build:test`: appengine-mailer as one file, which starts in two thirds of the time that all its
// modules take. The tests start it some thousand times. In the Debian packages it is bundled as well.
buildSync({
  entryPoints: ['src/bin/appengine-mailer.ts', 'src/proxy/backends/appengine/appengine-worker.mjs'],
  outdir: 'build/test/bin', // As deep as the modules of dist, which look for files of the checkout.
  entryNames: '[name]',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  external: ['better-sqlite3', 'better-sqlite3-node20'],
  alias: { yargs: './debian/make/yargs.mjs' },
  platform: 'node',
  format: 'esm',
  target: 'node20',
  banner: {
    js: "import { createRequire as requireOf } from 'node:module';\nconst require = requireOf(import.meta.url);",
  },
  logLevel: 'warning',
});
