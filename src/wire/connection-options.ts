import { anyText, takes, ValueError } from '../host/option-values.ts';
import type { OptionTable } from '../host/options.ts';
import { parseProxyUrls, ProxyUrlError } from './proxy-url.ts';

/** Options of every program that posts to the proxy. */
export const connectionOptions = {
  'proxy-url': {
    value: 'URL',
    parse: proxyUrls,
    setting: 'GMAIL_PROXY_URL',
    describe: 'URL of the proxy; or several, in order and with spaces between them',
  },
  'ca-file': {
    value: 'FILE',
    parse: anyText,
    describe: 'PEM file of further certificate authorities to trust',
  },
  'allow-insecure': {
    flag: true,
    describe: 'Allow http: to other machines; others on the way can then read the mail',
  },
} as const satisfies OptionTable;

/** The status, besides 204, by which v1 servers say that they sent a message. */
export const v1SuccessOption = {
  value: 'STATUS',
  parse: successStatus,
  default: '204',
  describe: 'With --wire v1: status by which the server says that it has sent, besides 204',
} as const;

/** The version of the interface that the proxy speaks. */
export const wireOption = {
  choices: ['v1', 'v2'],
  default: 'v2',
  describe: 'HTTP interface of the proxy; v1 is that of the first appengine-mailer (2012)',
} as const;

/** Whether http: is allowed is another option's; openConnection looks at both. */
function proxyUrls(text: string): string {
  try {
    parseProxyUrls(text, true);
    return text;
  } catch (error) {
    if (!(error instanceof ProxyUrlError)) throw error;
    throw new ValueError(`cannot be used: ${error.message}`);
  }
}

function successStatus(text: string): number {
  if (/^2\d\d$/.test(text)) return Number(text);
  throw takes('a status from 200 to 299', text);
}
