// Runs the tests: all of them but those of the packages, which boot machines (npm run test:package), or
// those whose path contains one of the arguments.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

const wanted = process.argv.slice(2);
const files = readdirSync('test', { recursive: true })
  .map((name) => `test/${name}`)
  .filter((name) => name.endsWith('.test.ts'))
  .filter((name) =>
    wanted.length === 0
      ? !name.startsWith('test/package/')
      : wanted.some((part) => name.includes(part)),
  )
  .toSorted();
const { status } = spawnSync(
  process.execPath,
  [
    '--import',
    'tsx',
    '--test',
    '--test-concurrency=2',
    `--test-timeout=${wanted.includes('test/package/') ? 1_200_000 : 600_000}`,
    ...files,
  ],
  { stdio: 'inherit' },
);
process.exitCode = status ?? 1;
