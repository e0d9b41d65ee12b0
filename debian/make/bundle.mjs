import { buildSync } from 'esbuild';

/**
 * Makes one file of each program, with all that it imports but `external`: for the Debian packages, and for the tests. Returns
 * the files, of which none is written, and what esbuild says of them.
 * @param {Pick<import('esbuild').BuildOptions, 'entryPoints' | 'entryNames' | 'external'> & { outdir: string }} options
 */
export function bundle(options) {
  const { metafile, outputFiles } = buildSync({
    ...options,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outExtension: { '.js': '.mjs' },
    alias: {
      yargs: './debian/make/yargs.mjs',
      'string-width': './debian/make/string-width.cjs',
      http: './debian/make/node-http.cjs',
      'node:http': './debian/make/node-http.cjs',
    },
    // Bundled packages that are CommonJS call require, which ES modules have not.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module';\nconst require = requireOf(import.meta.url);",
    },
    logLevel: 'warning',
    metafile: true,
    write: false,
  });
  return { metafile, files: outputFiles.map(({ path, text }) => ({ path, text: ascii(text) })) };
}

/**
 * esbuild leaves other characters in comments alone. With a single one V8 keeps the whole text in two bytes a character,
 * which takes 2 MB of memory in each service.
 * @param {string} text
 */
function ascii(text) {
  return text.replace(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
