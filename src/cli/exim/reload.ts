import { runCommand } from '../../host/run-command.ts';
import { print } from '../print.ts';

/** Tells a running daemon to read its configuration again; what cannot be done is told. */
export async function reload(): Promise<void> {
  const { code, stderr } = runCommand('invoke-rc.d', 'exim4', 'reload');
  if (code === 0) return;
  const reason = stderr.trim().split('\n').at(-1);
  await print(`Exim's daemon, if one runs, was not told: ${reason}. Restart it.`);
}
