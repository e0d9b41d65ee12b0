import { exitCodes, CommandError } from '../../host/command-error.ts';

/** Throws CommandError 77 unless this is root. */
export function requireRoot(): void {
  if (process.geteuid?.() === 0) return;
  throw new CommandError(exitCodes.notPermitted, "this changes Exim's configuration: be root");
}
