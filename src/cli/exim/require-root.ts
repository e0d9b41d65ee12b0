import { exitCodes, Failure } from '../../host/failure.ts';

/** Throws Failure 77 unless this is root. */
export function requireRoot(): void {
  if (process.geteuid?.() === 0) return;
  throw new Failure(exitCodes.notPermitted, "this changes Exim's configuration: be root");
}
