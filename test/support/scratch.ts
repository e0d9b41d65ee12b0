import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** A folder of the test's own; it stays, and its path is printed, when the test fails. */
export function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-test-'));
  t.after(() => {
    // Node 20 has `passed`, its types do not.
    if ((t as TestContext & { passed?: boolean }).passed) done.push(folder);
    else t.diagnostic(`kept for a look: ${folder}`);
  });
  return folder;
}

/** Removed at the end: only then are all programs gone that a test leaves to its other hooks. */
const done: string[] = [];
process.on('exit', () => {
  for (const folder of done) rmSync(folder, { recursive: true, force: true });
});
