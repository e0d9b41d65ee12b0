import { statSync } from 'node:fs';
import { join } from 'node:path';
import { buildPackages } from './packages.ts';
import { prepare } from './prepare.ts';

// `npm run build:deb [-- FOLDER [ARCH]]`: the packages are in build/deb, or FOLDER/deb. ARCH is x64 or arm64.
const [folder = 'build', arch = process.arch] = process.argv.slice(2);
const prepared = join(folder, 'prepared');
prepare(prepared, arch);
for (const file of buildPackages(prepared, join(folder, 'deb'), arch)) {
  console.log(`${file}: ${statSync(file).size} bytes`);
}
