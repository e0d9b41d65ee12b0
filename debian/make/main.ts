import { statSync } from 'node:fs';
import { join } from 'node:path';
import { buildPackages } from './packages.ts';
import { prepare } from './prepare.ts';

// `npm run build:deb [-- FOLDER]`: the packages are in build/deb, or FOLDER/deb.
const folder = process.argv[2] ?? 'build';
const prepared = join(folder, 'prepared');
prepare(prepared);
for (const file of buildPackages(prepared, join(folder, 'deb'))) {
  console.log(`${file}: ${statSync(file).size} bytes`);
}
