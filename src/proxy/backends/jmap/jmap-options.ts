import { anyText } from '../../../host/option-values.ts';
import type { OptionTable, Values } from '../../../host/options.ts';
import { firstLine, readSetting, type SettingName, type Sources } from '../../../host/settings.ts';
import { misconfigured } from '../misconfigured.ts';
import { parseProviderUrl } from '../provider/provider-url.ts';

/** Options of the jmap backend. */
export const jmapOptions = {
  'jmap-url': {
    value: 'URL',
    parse: parseProviderUrl,
    describe: 'Session resource of the jmap backend, such as https://api.fastmail.com/jmap/session',
  },
  'jmap-user': {
    value: 'USER',
    parse: anyText,
    describe:
      'User name at the JMAP server, with the password in JMAP_PASSWORD; without it, JMAP_TOKEN counts',
  },
} as const satisfies OptionTable;

/** Our account at a JMAP server. */
export interface JmapAccount {
  /** The session resource (RFC 8620 2). */
  url: URL;
  /** The value of the header field Authorization. */
  authorization: string;
}

/** The account that options and settings describe. Throws CommandError 78 when they do not describe one. */
export function jmapAccount(
  { jmapUrl: url, jmapUser: user }: Values<typeof jmapOptions>,
  sources: Sources,
): JmapAccount {
  if (!url) throw misconfigured('the jmap backend needs a session resource: --jmap-url');
  const read = (name: SettingName) => {
    const setting = readSetting(name, sources);
    return setting && firstLine(setting).toString();
  };
  const [token, password] = [read('JMAP_TOKEN'), read('JMAP_PASSWORD')];
  if (token && password) throw misconfigured('there are JMAP_TOKEN and JMAP_PASSWORD: remove one');
  if (token) return { url, authorization: `Bearer ${token}` };
  if (!password) {
    throw misconfigured(
      'the jmap backend needs a token in JMAP_TOKEN, or --jmap-user and a password in JMAP_PASSWORD',
    );
  }
  if (!user) throw misconfigured('there is a password in JMAP_PASSWORD, and no --jmap-user');
  return { url, authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}
