import { writeSync } from 'node:fs';

// Exim, systemd and operators send these to whole groups of processes; the message comes first.
for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const) {
  process.on(signal, () => {});
}

// Loaded late, so that whatever cannot be loaded is one line and a 75 like everything else.
void import('../intake/exim-pipe.ts')
  .then(({ eximPipe }) => eximPipe(process.argv.slice(2), process.env, 0))
  .catch((error: Error) => ({
    exitCode: 75,
    line: `cannot start: ${error.message.split('\n')[0]}`,
  }))
  .then(({ exitCode, line }) => {
    writeSync(1, `${line}\n`);
    process.exit(exitCode);
  });
