#!/usr/bin/env node
import { exitCodes, CommandError } from '../host/command-error.ts';
import { loadDefaults, spoolFolder } from '../host/settings.ts';
import { stderrLine } from '../host/stderr-line.ts';
import { withSpool } from '../spool/with-spool.ts';

// The package's part of an upgrade: brings the spool up to date where no drain runs that did so, since
// exim-pipe takes mail there all the same.
try {
  loadDefaults('/etc/default/appengine-mailer');
  const folder = spoolFolder();
  await withSpool(folder, 'drain', async () => {});
} catch (error) {
  const exitCode = error instanceof CommandError ? error.exitCode : exitCodes.defect;
  if (exitCode !== exitCodes.busy) {
    stderrLine(`appengine-mailer: ${(error as Error).message}`);
    process.exitCode = exitCode;
  }
}
