import { isUtf8 } from 'node:buffer';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { exitCodes, CommandError } from './command-error.ts';
import { readRegularFile } from './regular-file.ts';
import { readVariables } from './read-variables.ts';

/** The settings that are not options, because they are secret or were there in 2012. */
export type SettingName =
  | 'GMAIL_PROXY_URL'
  | 'GMAIL_SECRET_KEY'
  | 'GMAIL_SECRET_KEYS'
  | 'GMAIL_DEFAULT_SENDER'
  | 'APPENGINE_SMTP_PASSWORD'
  | 'APPENGINE_SMTP_OAUTH'
  | 'AWS_ACCESS_KEY_ID'
  | 'AWS_SECRET_ACCESS_KEY'
  | 'AWS_SESSION_TOKEN'
  | 'MAILGUN_API_KEY'
  | 'JMAP_TOKEN'
  | 'JMAP_PASSWORD'
  | 'PGPASSWORD';

/** The folder of the spool where no setting names another. */
export const defaultSpool = '/var/spool/appengine-mailer';

/** The folder of the spool, for programs without the option --spool. */
export function spoolFolder(environment: NodeJS.ProcessEnv = process.env): string {
  return environment['APPENGINE_MAILER_SPOOL'] || defaultSpool;
}

/** Where to look besides the environment and /etc/envdir. */
export interface Sources {
  environment: NodeJS.ProcessEnv;
  /** Last of all, a file of that name in this folder. */
  folder?: string | undefined;
}

/** A setting as it was found. */
export interface Setting {
  bytes: Buffer;
  /** The file whose content it is; undefined: it is from the environment. */
  file?: string;
  /** The file of variables that has put it into the environment, such as one of /etc/default. */
  variables?: string | undefined;
}

/** Reads a setting as findSetting does; only its bytes. */
export function readSetting(name: SettingName, sources: Sources): Buffer | undefined {
  return findSetting(name, sources)?.bytes;
}

/**
 * Finds a setting: environment, then $CREDENTIALS_DIRECTORY/NAME (systemd's LoadCredential), then
 * /etc/envdir/NAME, then NAME in the folder; undefined when it is nowhere. A credential that is blank is
 * none: it stands for a file that is not there. Throws CommandError 78 for a file that cannot be read.
 */
export function findSetting(
  name: SettingName,
  { environment, folder }: Sources,
): Setting | undefined {
  const value = environment[name];
  if (value !== undefined && value !== '') {
    const isLoaded = environment === process.env;
    return { bytes: Buffer.from(value), variables: isLoaded ? loaded.get(name) : undefined };
  }
  const credentials = environment['CREDENTIALS_DIRECTORY'];
  for (const each of [credentials, '/etc/envdir', folder]) {
    if (!each) continue;
    const file = join(each, name);
    const bytes = readSettingFile(file);
    const isNone = each === credentials && bytes?.toString('latin1').trim() === '';
    if (bytes && !isNone) return { bytes, file };
  }
  return undefined;
}

/** The working directory; undefined where this account may not look into it, as where root has begun in /root and given up root. */
export function workingFolder(): string | undefined {
  try {
    accessSync('.', constants.X_OK);
    return '.';
  } catch {
    return undefined;
  }
}

/** The files in which a setting may be, whether they are there or not; the working directory's too. */
export function settingFiles(name: SettingName): string[] {
  const folders = [process.env['CREDENTIALS_DIRECTORY'], '/etc/envdir', workingFolder()];
  const files = folders.flatMap((folder) => (folder ? [join(folder, name)] : []));
  const variables = loaded.get(name);
  return variables === undefined ? files : [variables, ...files];
}

/** The first line of a setting, trimmed, as bytes. */
export function firstLine(bytes: Buffer): Buffer {
  return lines(bytes)[0] ?? Buffer.alloc(0);
}

/** The lines of a setting, trimmed. In latin1 an octet is a character: nothing is decoded. */
export function lines(bytes: Buffer): Buffer[] {
  const text = bytes.toString('latin1').split('\n');
  return text.map((line) => Buffer.from(line.replace(/^[ \t\r]+|[ \t\r]+$/g, ''), 'latin1'));
}

/** The environment for a program that we start, which no secret concerns. */
export function withoutSecrets(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !SECRETS.has(name)));
}

/** The environment for this program when it runs again as an account that may not read these settings where they are. */
export function withSettings(names: readonly SettingName[]): NodeJS.ProcessEnv {
  // It reads /etc/default again, and knows then what is from there.
  const others = Object.entries(process.env).filter(([name]) => !loaded.has(name));
  const found = names.flatMap((name) => {
    if (loaded.has(name)) return [];
    const bytes = readSetting(name, { environment: process.env });
    if (bytes && !isUtf8(bytes)) {
      throw new CommandError(
        exitCodes.configuration,
        `${name} is not UTF-8: start this as the account`,
      );
    }
    return bytes ? [[name, bytes.toString()]] : [];
  });
  return Object.fromEntries([...others, ...found]) as NodeJS.ProcessEnv;
}

/**
 * Adds the settings of /etc/default to the environment, which wins. Units do without EnvironmentFile=: it reads such a
 * file in another way. Throws CommandError 78 for a file that cannot be read, or that readVariables refuses.
 */
export function loadDefaults(file: string): void {
  let text: string;
  try {
    text = readRegularFile(file).toString();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    throw new CommandError(exitCodes.configuration, `cannot read ${file}: ${message}`);
  }
  for (const [name, value] of readVariables(text, file)) {
    if (name in process.env) continue;
    process.env[name] = value;
    loaded.set(name, file);
  }
}

function readSettingFile(file: string): Buffer | undefined {
  try {
    return readRegularFile(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES' || code === 'EPERM') throw new SettingDeniedError(file, message);
    throw new CommandError(exitCodes.configuration, `cannot use ${file}: ${message}`);
  }
}

/** This user may not read a setting: of a service that is wrong, and of an ordinary user to be expected. */
export class SettingDeniedError extends CommandError {
  override readonly name = 'SettingDeniedError';
  readonly file: string;

  constructor(file: string, message: string) {
    super(exitCodes.configuration, `cannot use ${file}: ${message}`);
    this.file = file;
  }
}

/** Which file a variable of the environment was loaded from. */
const loaded = new Map<string, string>();

const SECRETS: ReadonlySet<string> = new Set<SettingName | 'AWS_CONTAINER_AUTHORIZATION_TOKEN'>([
  'GMAIL_SECRET_KEY',
  'GMAIL_SECRET_KEYS',
  'APPENGINE_SMTP_PASSWORD',
  'APPENGINE_SMTP_OAUTH',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_CONTAINER_AUTHORIZATION_TOKEN',
  'MAILGUN_API_KEY',
  'JMAP_TOKEN',
  'JMAP_PASSWORD',
  'PGPASSWORD',
]);
