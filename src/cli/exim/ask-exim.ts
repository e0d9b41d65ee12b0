import { existsSync } from 'node:fs';
import { runCommand } from '../../host/run-command.ts';
import { exim } from './debian-config.ts';

/** What Exim finds wrong with a configuration, undefined when it is valid. */
export function eximFault(config: string): string | undefined {
  const { code, stdout, stderr } = runCommand(exim, '-C', config, '-bV');
  if (code === 0) return undefined;
  return (stderr || stdout).trim().replaceAll(/\s+/g, ' ');
}

/** The value of a macro in a configuration. */
export function eximMacro(config: string, name: string): string | undefined {
  const { code, stdout } = runCommand(exim, '-C', config, '-bP', 'macro', name);
  return code === 0 ? stdout.trim().slice(name.length + 1) : undefined;
}

/** What becomes of mail. */
export interface Route {
  /** Whether it goes to exim-pipe. */
  ours: boolean;
  /** What Exim says, in one line. */
  text: string;
}

/** Asks Exim where mail for an address, or for other hosts, goes: by a configuration, else by the one in force. */
export function eximRoute(config?: string, address: string = ELSEWHERE): Route {
  if (!existsSync(exim)) return { ours: false, text: 'Exim is not installed' };
  const chosen = config === undefined ? [] : ['-C', config];
  const { stdout, stderr } = runCommand(exim, ...chosen, '-bt', '--', address);
  const text = (stdout.trim() || stderr.trim()).replaceAll(/\s+/g, ' ');
  return { ours: text.includes('transport = appengine_mailer_pipe'), text };
}

/** RFC 2606: a name that is nobody's, so that no router has a reason to treat it specially. */
const ELSEWHERE = 'postmaster@appengine-mailer.invalid';
