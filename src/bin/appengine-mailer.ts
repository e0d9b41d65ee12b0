#!/usr/bin/env node
import { runCommandLine } from '../admin/command-line.ts';
import { printed } from '../admin/print.ts';

process.exitCode = await runCommandLine('appengine-mailer', process.argv.slice(2));
await printed();
// What is left is idle connections and the journal's socket.
process.exit();
