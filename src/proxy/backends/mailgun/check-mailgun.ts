import { fault, ok, type Finding } from '../../../host/finding.ts';
import { thisMachine } from '../../../host/machine.ts';
import { jsonOf } from '../provider/json-of.ts';
import { MailgunApi } from './mailgun-api.ts';
import type { MailgunAccount } from './mailgun-options.ts';

/** Checks by a message to nobody whether Mailgun takes our key for the domain. Rejects when there is no answer. */
export async function checkMailgun(account: MailgunAccount): Promise<Finding> {
  const { status, body } = await new MailgunApi(account, thisMachine).probe();
  if (status === 400) return ok('login', `it takes the key for ${account.domain}`);
  const { message } = jsonOf(body);
  const said = typeof message === 'string' ? `: ${message}` : '';
  return fault('login', `Mailgun answered ${status}${said}`, REMEDY);
}

const REMEDY =
  'set /etc/envdir/MAILGUN_API_KEY, --mailgun-domain and --mailgun-url right: a domain in the EU wants https://api.eu.mailgun.net/';
