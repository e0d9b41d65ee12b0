#!/usr/bin/env node
import { runCommandLine } from '../cli/command-line.ts';
import { printed } from '../cli/print.ts';

process.exitCode = await runCommandLine('appengine-mailer', process.argv.slice(2));
await printed();
// Only idle connections and the journal's socket are left.
process.exit();
