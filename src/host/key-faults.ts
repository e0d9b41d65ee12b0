import { statSync } from 'node:fs';
import { limits } from '../limits.ts';
import {
  findSetting,
  firstLine,
  settingFiles,
  type Setting,
  type SettingName,
} from './settings.ts';

/** What is wrong with a key that works all the same; neither has the key in it. */
export interface KeyFault {
  text: string;
  todo: string;
}

/** The fault as a line of the journal. */
export function keyFaultText({ text, todo }: KeyFault): string {
  return `attention: ${text}. To do: ${todo}`;
}

/** A key, and what it may be called where others read it. */
export interface NamedSecret {
  secret: Buffer;
  called: string;
}

/** Keys that can be guessed, and a file with keys that everybody on this machine can read. */
export function keyFaults(
  keys: readonly NamedSecret[],
  found: Pick<Setting, 'file' | 'variables'>,
): KeyFault[] {
  const weak = keys.filter(({ secret }) => secret.length < limits.keyOctets);
  const file = found.file ?? found.variables;
  return [...(weak.length > 0 ? [tooShort(weak)] : []), ...(file ? readableByAll(file) : [])];
}

/** The same of GMAIL_SECRET_KEY, the one key of a host. Throws CommandError 78 for a file that cannot be read. */
export function secretKeyFaults(): KeyFault[] {
  const found = findSetting('GMAIL_SECRET_KEY', { environment: process.env });
  if (!found) return [];
  return keyFaults([{ secret: firstLine(found.bytes), called: 'GMAIL_SECRET_KEY' }], found);
}

/** Files with one of these secrets that everybody on this machine can read. */
export function secretFaults(names: readonly SettingName[]): KeyFault[] {
  return names.flatMap(settingFiles).flatMap((file) => readableByAll(file, 'secret'));
}

function tooShort(weak: readonly NamedSecret[]): KeyFault {
  const named = weak.slice(0, limits.namedKeys).map(({ called }) => called);
  const more = weak.length - named.length;
  const names = `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const short = `shorter than ${limits.keyOctets} octets, so that`;
  return {
    text:
      weak.length === 1
        ? `${names} is ${short} it can be guessed`
        : `keys are ${short} they can be guessed: ${names}`,
    todo: 'make another one (openssl rand -base64 32) and exchange it, on the proxy and on the host',
  };
}

function readableByAll(file: string, what = 'key'): KeyFault[] {
  const mode = modeOf(file);
  if ((mode & 0o004) === 0) return [];
  return [
    {
      text: `${file} has mode ${modeText(mode)}, so that everybody on this machine can read the ${what}`,
      todo: `${privately(file, what)}, and exchange the ${what}`,
    },
  ];
}

/** The permissions of a file; none where it is not there, or in a folder that not everybody may look into. */
function modeOf(file: string): number {
  try {
    return statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return 0;
    throw error;
  }
}

/** The permissions of a file as chmod(1) takes them, such as 0640. */
export function modeText(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}

/** A file of variables is for everybody to read, as all programs need it. */
export function privately(file: string, what = 'key'): string {
  return file.startsWith('/etc/default/')
    ? `take the ${what} out of ${file}, put it into a file of its own in /etc/envdir, root 0600`
    : `chmod 600 ${file}`;
}
