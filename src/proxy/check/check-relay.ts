import type { SMTPError } from 'nodemailer/lib/smtp-connection';
import { thisMachine } from '../../host/machine.ts';
import { fault, notChecked, ok, type Finding } from '../../host/finding.ts';
import { SmtpClient } from '../../host/net/smtp-client.ts';
import { withinTime } from '../../host/within-time.ts';
import { limits } from '../../limits.ts';
import { accountRemedy } from '../backends/smtp/oauth-remedies.ts';
import { OAuthError, type OAuthTokens } from '../backends/smtp/oauth-tokens.ts';
import { smtpErrorText } from '../backends/smtp/smtp-error-text.ts';
import { SmtpLogin } from '../backends/smtp/smtp-login.ts';
import type { SmtpRelay } from '../backends/smtp/smtp-sessions.ts';
import { hostPortText } from '../../host/net/host-port.ts';

/** Checks the relay by a session without a message: connection, TLS, access token, login and QUIT. Never rejects. */
export async function checkRelay(relay: SmtpRelay): Promise<Finding[]> {
  const { auth, ...server } = relay;
  const login = auth && new SmtpLogin(auth, thisMachine);
  const steps = STEPS.filter((step) => step !== 'token' || login?.tokens !== undefined);
  const where = `the relay ${hostPortText(relay)}`;
  const found: Finding[] = [];
  const answers = () => found.push(ok('connection', `${where} answers`));
  try {
    await withinTime(limits.checkRelayMs, 'no answer', {}, async ({ signal: timeUp }) => {
      const client = new SmtpClient({
        ...server,
        socket: await thisMachine.connect(server, timeUp),
        clock: thisMachine,
      });
      timeUp.addEventListener('abort', () => client.cut(timeUp.reason as Error));
      try {
        await client.connect();
        answers();
        found.push(ok('tls', TLS[relay.security]));
        if (login?.tokens) found.push(await checkToken(login.tokens));
        await login?.over(client);
        const what = login?.tokens ? 'access token' : 'password';
        const text = auth ? `it takes the ${what} of ${auth.user}` : 'there is no --smtp-user';
        found.push(ok('login', text));
        await client.leave();
        found.push(ok('quit', 'the session ended in order'));
      } finally {
        client.close();
      }
    });
    return found;
  } catch (error) {
    if (found.length === 0 && isOfTls(error as SMTPError)) answers();
    const step = steps[found.length] ?? 'quit';
    const text = `${where}: ${smtpErrorText(error)}`;
    const known = error instanceof OAuthError ? error.remedy : accountRemedy(text, auth);
    found.push(fault(step, text, known ?? remedy(step, error as SMTPError, relay)));
    const others = steps.slice(found.length);
    return [...found, ...others.map((each) => notChecked(each, `the session ended at ${step}`))];
  }
}

const STEPS = ['connection', 'tls', 'token', 'login', 'quit'] as const;

const TLS = {
  starttls: 'the session is encrypted (STARTTLS), and the certificate is trusted',
  tls: 'the connection is encrypted, and the certificate is trusted',
  none: 'the session is not encrypted, as --smtp-security none wants it',
};

async function checkToken(tokens: OAuthTokens): Promise<Finding> {
  await tokens.token();
  return ok('token', `${tokens.credentials.tokenUrl.origin} gives access tokens`);
}

function isOfTls(error: SMTPError): boolean {
  const { code = '', command, message } = error;
  return (
    command === 'STARTTLS' ||
    code === 'ETLS' ||
    CERTIFICATE.test(message) ||
    OTHER_TLS.test(message)
  );
}

/** What to do, by the step at which the session ended. */
function remedy(step: (typeof STEPS)[number], error: SMTPError, { security }: SmtpRelay): string {
  const { code = '', command, message, response } = error;
  if (step === 'login') {
    return 'set --smtp-user (APPENGINE_MAILER_SMTP_USER) and the password (/etc/envdir/APPENGINE_SMTP_PASSWORD) right; some relays want a password made for the program';
  }
  if (step === 'quit') {
    return 'see the log of the relay: it has to answer 221 to QUIT (RFC 5321, section 4.1.1.10); mail may pass all the same';
  }
  if (step === 'tls') {
    if (CERTIFICATE.test(message)) {
      return 'name the relay as its certificate does (--smtp-host), or the authority that has signed it (--smtp-ca-file); an expired one has to be renewed at the relay';
    }
    if (security === 'tls')
      return 'see whether this port begins with TLS: 587 mostly wants --smtp-security starttls';
    return response === undefined && command !== 'STARTTLS'
      ? 'see whether this port is the right one: 465 wants --smtp-security tls'
      : 'the relay has no STARTTLS on this port: use --smtp-security tls (port 465) if it has that; with none anybody on the way can read the mail';
  }
  if (response !== undefined) {
    return 'the relay refuses this machine: see its answer, what the proxy calls itself (--smtp-name), and whether the relay knows this address';
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return 'set --smtp-host (APPENGINE_MAILER_SMTP_HOST) right, or the name servers in /etc/resolv.conf';
  }
  return 'see whether the relay runs, --smtp-host and --smtp-port are right, and no firewall is in between; many providers block port 25';
}

const CERTIFICATE = /certificate|altnames/i;
const OTHER_TLS = /SSL|wrong version number|TLS/;
