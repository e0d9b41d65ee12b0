import { takes } from '../../../host/option-values.ts';
import type { OptionTable, Values } from '../../../host/options.ts';
import { firstLine, readSetting, type Sources } from '../../../host/settings.ts';
import { asciiDomain } from '../../../mail/ascii-domain.ts';
import { misconfigured } from '../misconfigured.ts';
import { parseProviderUrl } from '../provider/provider-url.ts';

/** Options of the mailgun backend. */
export const mailgunOptions = {
  'mailgun-domain': {
    value: 'DOMAIN',
    parse: domainName,
    describe: 'Domain at Mailgun from which the mailgun backend sends',
  },
  'mailgun-url': {
    value: 'URL',
    parse: parseProviderUrl,
    default: 'https://api.mailgun.net/',
    describe: "Address of Mailgun's API; for domains in the EU https://api.eu.mailgun.net/",
  },
} as const satisfies OptionTable;

/** Our account at Mailgun. */
export interface MailgunAccount {
  domain: string;
  url: URL;
  apiKey: string;
}

/** The account that options and settings describe. Throws CommandError 78 when they do not describe one. */
export function mailgunAccount(
  { mailgunDomain: domain, mailgunUrl: url }: Values<typeof mailgunOptions>,
  sources: Sources,
): MailgunAccount {
  if (!domain) {
    throw misconfigured('the mailgun backend needs the domain that sends: --mailgun-domain');
  }
  const setting = readSetting('MAILGUN_API_KEY', sources);
  const apiKey = setting && firstLine(setting).toString();
  if (!apiKey) {
    throw misconfigured(
      'the mailgun backend needs a key: put a sending key of the domain into MAILGUN_API_KEY',
    );
  }
  return { domain, url, apiKey };
}

function domainName(text: string): string {
  const domain = asciiDomain(text);
  if (domain !== undefined) return domain;
  throw takes('a domain, such as mail.example.org,', text);
}
