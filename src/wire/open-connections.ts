import { exitCodes, CommandError } from '../host/command-error.ts';
import { readCertificates } from '../host/net/read-certificates.ts';
import { firstLine, readSetting, type SettingName } from '../host/settings.ts';
import { Connection } from './connection.ts';
import { parseProxyUrls } from './proxy-url.ts';

/** How to reach the proxy; the settings have what is left out. */
export interface ProxyOptions {
  /** Several are separated by spaces; else GMAIL_PROXY_URL. */
  proxyUrl?: string | URL | undefined;
  /** Else GMAIL_SECRET_KEY; of either the first line counts, trimmed. */
  secretKey?: string | Uint8Array | undefined;
  /** PEM file of further certificate authorities to trust. */
  caFile?: string | undefined;
  /** Allow http: to other machines, where anybody on the way can read the mail. */
  allowInsecure?: boolean | undefined;
}

/**
 * Makes the connection to each proxy, in their order, at least one; nothing is sent yet. Throws CommandError 78 when
 * they are not configured.
 */
export function openConnections(options: ProxyOptions): Connection[] {
  const urlText = options.proxyUrl ?? firstLine(required('GMAIL_PROXY_URL'));
  const key = firstLine(Buffer.from(options.secretKey ?? required('GMAIL_SECRET_KEY')));
  if (key.length === 0)
    throw new CommandError(exitCodes.configuration, 'GMAIL_SECRET_KEY is empty');
  try {
    const urls = parseProxyUrls(urlText.toString(), options.allowInsecure ?? false);
    const { caFile } = options;
    const ca = caFile === undefined ? undefined : readCertificates(caFile);
    return urls.map((url) => new Connection({ url, key, ca }));
  } catch (error) {
    throw new CommandError(exitCodes.configuration, (error as Error).message);
  }
}

function required(name: SettingName): Buffer {
  const value = readSetting(name, { environment: process.env });
  if (value) return value;
  throw new CommandError(
    exitCodes.configuration,
    `${name} is not set: put it into the environment or into /etc/envdir/${name}`,
  );
}
