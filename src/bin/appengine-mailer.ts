#!/usr/bin/env node
import { runCommandLine } from '../admin/command-line.ts';

process.exitCode = await runCommandLine(process.argv.slice(2));
// What is left is idle connections and journal sockets.
process.exit();
