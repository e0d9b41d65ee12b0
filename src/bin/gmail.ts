#!/usr/bin/env node
import { runCommandLine } from '../cli/command-line.ts';
import { printed } from '../cli/print.ts';

process.exitCode = await runCommandLine('gmail', process.argv.slice(2));
await printed();
process.exit();
