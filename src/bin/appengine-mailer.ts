#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';

// Loading code leaves much garbage behind: V8 would enlarge the young generation for it, and an idle service keep that,
// 15 MB. Two is the factor that V8 has.
setFlagsFromString('--semi-space-growth-factor=1');
setTimeout(() => setFlagsFromString('--semi-space-growth-factor=2'), 5000).unref();

const { runCommandLine } = await import('../cli/command-line.ts');
const { printed } = await import('../cli/print.ts');
process.exitCode = await runCommandLine('appengine-mailer', process.argv.slice(2));
await printed();
// Only idle connections and the journal's socket are left.
process.exit();
