#!/usr/bin/env node
import { runCommandLine } from '../admin/command-line.ts';
import { printed } from '../admin/print.ts';

process.exitCode = await runCommandLine('gmail', process.argv.slice(2));
await printed();
process.exit();
