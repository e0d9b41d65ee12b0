import { mkdirSync, writeFileSync } from 'node:fs';
import { bundle } from '../../debian/make/bundle.mjs';

// `npm run build:test`: appengine-mailer as one file, which starts in two thirds of the time that all its
// modules take. The tests start it some thousand times. In the Debian packages it is bundled as well.
const outdir = 'build/test/bin'; // As deep as the modules of dist, which look for files of the checkout.
const { files } = bundle({
  entryPoints: ['src/bin/appengine-mailer.ts', 'src/proxy/backends/appengine/appengine-worker.mjs'],
  entryNames: '[name]',
  outdir,
  external: ['better-sqlite3', 'better-sqlite3-node20'],
});
mkdirSync(outdir, { recursive: true });
for (const { path, text } of files) writeFileSync(path, text, { mode: 0o755 });
