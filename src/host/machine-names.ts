import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { promisify } from 'node:util';
import { limits } from '../limits.ts';

/** What this machine is called. */
export interface MachineNames {
  /** Its fully qualified domain name (RFC 5321 2.3.5), for EHLO; undefined when it has none. */
  host: string | undefined;
  /** The domain of its addresses and Message-IDs (Debian Policy 11.6, /etc/mailname). */
  mail: string;
  /** What stands in /etc/mailname and is not a fully qualified domain name; such a name is not used. */
  unusable: string | undefined;
}

/**
 * Finds the machine's names: the canonical name of the host name, as `hostname -f` says it, and /etc/mailname. What is
 * missing is taken from the other, and last from the short host name. Never rejects; takes limits.hostNameMs at most.
 */
export async function machineNames(): Promise<MachineNames> {
  const [said, host] = [mailName(), qualified(await canonicalName())];
  const mail = qualified(said);
  const unusable = said !== '' && mail === undefined ? said : undefined;
  return { host, mail: mail ?? host ?? hostname(), unusable };
}

/** What an administrator has to set right about the names; undefined when nothing. `service` is to be restarted then. */
export function nameFault(
  { host, unusable }: MachineNames,
  service: string,
): { text: string; todo: string } | undefined {
  const [short = ''] = hostname().split('.');
  const restart = `then systemctl restart ${service}`;
  if (host === undefined) {
    return {
      text: 'this machine has no fully qualified name (see hostname -f)',
      todo: `write its name into /etc/hosts, as in "127.0.1.1 ${short}.example.org ${short}", ${restart}`,
    };
  }
  if (unusable !== undefined) {
    return {
      text: `/etc/mailname says ${unusable}, which is not a fully qualified domain name`,
      todo: `write the domain of this machine's addresses into /etc/mailname, ${restart}`,
    };
  }
  return undefined;
}

/** An address as an SMTP client without a name calls itself (RFC 5321 4.1.3). */
export function addressLiteral(address: string): string {
  const [plain = ''] = address.replace(/^::ffff:(?=[\d.]+$)/i, '').split('%');
  return plain.includes(':') ? `[IPv6:${plain}]` : `[${plain}]`;
}

/** Node has no getaddrinfo(3) with AI_CANONNAME; `hostname -f` is that call, and is on every Debian system. */
async function canonicalName(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('hostname', ['-f'], {
      timeout: limits.hostNameMs,
      killSignal: 'SIGKILL',
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
      cwd: '/',
    });
    return stdout.trim();
  } catch {
    return hostname(); // No such program, or no answer of the name server.
  }
}

function mailName(): string {
  try {
    return readFileSync('/etc/mailname', 'utf8').trim();
  } catch {
    return '';
  }
}

/** A name that others may know: labels of letters, digits and hyphens (RFC 1123 2.1), two at least. */
function qualified(name: string): string | undefined {
  const plain = name.replace(/\.$/, '');
  const isName = plain.length <= 253 && QUALIFIED.test(plain) && !LOCAL.test(plain);
  return isName ? plain : undefined;
}

const QUALIFIED =
  /^(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)+(?!\d+$)[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/i;
const LOCAL = /(?:^|\.)(?:localhost|localdomain)$/i;
