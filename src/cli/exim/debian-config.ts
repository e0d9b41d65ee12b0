import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { replaceFile } from '../../host/replace-file.ts';
import { runCommand } from '../../host/run-command.ts';

/** Where Debian keeps Exim's configuration. */
export const etcExim = '/etc/exim4';
export const exim = '/usr/sbin/exim4';
const UPDATE = '/usr/sbin/update-exim4.conf';

/** What update-exim4.conf.conf says, as the shell reads it. */
export interface DebianSettings {
  /** `dc_eximconfig_configtype`: internet, smarthost, satellite, local, none. */
  type: string;
  /** `dc_use_split_config`. */
  split: boolean;
}

/** Reads update-exim4.conf.conf of /etc/exim4 or a copy. Throws CommandError 78. */
export function readSettings(confdir = etcExim): DebianSettings {
  const file = settingsFile(confdir);
  const script = '. "$1" && printf "%s\\n%s" "$dc_eximconfig_configtype" "$dc_use_split_config"';
  const { code, stdout, stderr } = runCommand('sh', '-c', script, 'sh', file);
  if (code !== 0) throw new CommandError(exitCodes.configuration, `cannot read ${file}: ${stderr}`);
  const [type = '', split = ''] = stdout.toLowerCase().split('\n');
  return { type, split: split === 'true' };
}

/** The line of update-exim4.conf.conf that says whether the configuration is split; '' without one. */
export function splitLine(confdir: string): string {
  return SPLIT_LINE.exec(readFileSync(settingsFile(confdir), 'utf8'))?.[0] ?? '';
}

/** Replaces that line, or adds or removes it. */
export function setSplitLine(confdir: string, line: string): void {
  const file = settingsFile(confdir);
  const text = readFileSync(file, 'utf8');
  const found = SPLIT_LINE.exec(text);
  const [before, after] = found
    ? [text.slice(0, found.index), text.slice(found.index + found[0].length)]
    : [text === '' || text.endsWith('\n') ? text : `${text}\n`, ''];
  replaceFile(file, before + line + after);
}

/** The last one counts, as in the shell. Its line end belongs to it. */
const SPLIT_LINE = /^[ \t]*dc_use_split_config=.*\n?(?![^]*^[ \t]*dc_use_split_config=)/m;

/** What that line may be. */
export const SPLIT = "dc_use_split_config='true'\n";
export const UNSPLIT = "dc_use_split_config='false'\n";

/** Debian's settings of Exim in /etc/exim4 or a copy. */
export function settingsFile(confdir: string): string {
  return join(confdir, 'update-exim4.conf.conf');
}

/** Generates Exim's configuration from the real folder, checks it and puts it in force. */
export function updateConfig(): void {
  const { code, stderr } = runCommand(UPDATE);
  if (code !== 0) throw new Error(`update-exim4.conf ends with ${code}: ${stderr.trim()}`);
}

/**
 * A copy of /etc/exim4 to try things on. The configuration generated from it is Exim's as it would
 * be; nothing that is in force is touched.
 */
export class TrialConfig {
  readonly #folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-exim-'));
  readonly confdir = join(this.#folder, 'exim4');
  #generated = 0;

  constructor() {
    for (const name of COPIED) {
      const source = join(etcExim, name);
      if (!existsSync(source)) continue;
      cpSync(source, join(this.confdir, name), { recursive: true, dereference: true });
    }
  }

  /** Generates Exim's configuration and returns its file. */
  generate(): string {
    const file = join(this.#folder, `generated-${++this.#generated}`);
    const args = ['--removecomments', '-d', this.confdir, '-o', file];
    const { code, stderr } = runCommand(UPDATE, ...args);
    if (code === 0) return file;
    throw new CommandError(
      exitCodes.configuration,
      `update-exim4.conf ends with ${code}: ${stderr}`,
    );
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** All that update-exim4.conf reads. */
const COPIED = [
  'update-exim4.conf.conf',
  'conf.d',
  'exim4.conf.template',
  'exim4.conf.localmacros',
];
