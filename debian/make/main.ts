import { statSync } from 'node:fs';
import { buildPackages } from './packages.ts';
import { prepare } from './prepare.ts';

// `npm run build:deb`: the packages are in build/deb.
const prepared = 'build/prepared';
prepare(prepared);
for (const file of buildPackages(prepared, 'build/deb')) {
  console.log(`${file}: ${statSync(file).size} bytes`);
}
