import { existsSync } from 'node:fs';
import { runCommand } from '../../host/run-command.ts';
import { exim } from './debian-config.ts';

/** What Exim finds wrong with a configuration, undefined when it is valid. */
export function eximFault(config: string): string | undefined {
  const { code, stdout, stderr } = runCommand(exim, '-C', config, '-bV');
  if (code === 0) return undefined;
  return (stderr || stdout).trim().replaceAll(/\s+/g, ' ');
}

/** The value of a macro in a configuration, else in the one in force. */
export function eximMacro(config: string | undefined, name: string): string | undefined {
  const { code, stdout } = runCommand(exim, ...chosen(config), '-bP', 'macro', name);
  return code === 0 ? stdout.trim().slice(name.length + 1) : undefined;
}

export type Way = 'lmtp' | 'pipe';

/** What becomes of mail. */
export interface Route {
  /** How it gets into the queue: by the LMTP server or by exim-pipe; undefined: it does not. */
  way: Way | undefined;
  /** What Exim says, in one line. */
  text: string;
}

/** Asks Exim where mail for an address, or for other hosts, goes: by a configuration, else by the one in force. */
export function eximRoute(config?: string, address: string = ELSEWHERE): Route {
  if (!existsSync(exim)) return { way: undefined, text: 'Exim is not installed' };
  const { stdout, stderr } = runCommand(exim, ...chosen(config), '-bt', '--', address);
  const text = (stdout.trim() || stderr.trim()).replaceAll(/\s+/g, ' ');
  const [, way] = /transport = appengine_mailer_(lmtp|pipe)\b/.exec(text) ?? [];
  return { way: way as Way | undefined, text };
}

/** Where Exim looks for the LMTP server; without our snippets, where it would look. */
export function eximSocket(): string {
  return eximMacro(undefined, 'APPENGINE_MAILER_SOCKET') ?? '/run/appengine-mailer/intake.sock';
}

function chosen(config: string | undefined): string[] {
  return config === undefined ? [] : ['-C', config];
}

/** RFC 2606: a name that is nobody's, so that no router has a reason to treat it specially. */
const ELSEWHERE = 'postmaster@appengine-mailer.invalid';
