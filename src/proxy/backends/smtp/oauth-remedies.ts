import type { OAuthCredentials } from './oauth-credentials.ts';
import type { SmtpAccount } from './smtp-login.ts';

/**
 * What to do about an answer of a token endpoint that has no token, by its error and description. Those of Microsoft have
 * numbers (AADSTS…), those of Google sentences.
 */
export function tokenRemedy(credentials: OAuthCredentials, user: string, answer: string): string {
  if (credentials.kind === 'google') {
    const { email, clientId = 'that is in the JSON file' } = credentials;
    if (answer.startsWith('unauthorized_client')) {
      return `in Google's admin console, under Security, API controls, Domain-wide delegation, allow the client ID ${clientId} the scope https://mail.google.com/ (${PAGE})`;
    }
    if (/invalid email or user id|not a valid email/i.test(answer)) {
      return `set --smtp-user, which is ${user}, to the main address of a user of Google Workspace, and not to an alias or a group`;
    }
    if (/\biat\b|timeframe/i.test(answer)) return CLOCK;
    return `see whether the service account ${email} exists, is enabled and still has this key; otherwise put the JSON file of a new key into ${SETTING} (${PAGE})`;
  }
  if (credentials.kind === 'microsoft') return microsoftRemedy(credentials.clientId, answer);
  return answer.startsWith('invalid_grant')
    ? `the refresh token was revoked or has expired: have a person allow a new one, and put it into ${SETTING}`
    : `set client_id, client_secret and refresh_token in ${SETTING} right`;
}

function microsoftRemedy(clientId: string, answer: string): string {
  const app = `the app registration ${clientId} in Microsoft Entra`;
  if (/AADSTS7000222/.test(answer)) {
    return `the client secret has expired: make another one under Certificates & secrets of ${app}, and put it into ${SETTING}`;
  }
  if (/AADSTS7000215/.test(answer)) {
    return `put the Value of a client secret of ${app}, and not its Secret ID, into ${SETTING}`;
  }
  if (/AADSTS700027/.test(answer)) {
    return `upload the certificate under Certificates & secrets of ${app}, or put the one that is there into ${SETTING}`;
  }
  if (/AADSTS700024/.test(answer)) return CLOCK;
  if (/AADSTS90002|AADSTS900023|AADSTS700016/.test(answer)) {
    return `set tenant_id and client_id in ${SETTING} to the Directory (tenant) ID and the Application (client) ID of the app registration`;
  }
  return `see tenant_id, client_id and the secret or certificate in ${SETTING}, and ${app} (${PAGE})`;
}

/**
 * What to do where a relay's answer means our account there; undefined where nothing more can be said than the answer
 * says.
 */
export function accountRemedy(
  answer: string,
  account: SmtpAccount | undefined,
): string | undefined {
  if (/basic authentication is (?:not supported|disabled)|5\.7\.139 .*basic auth/i.test(answer)) {
    return `this relay takes no passwords any more: use OAuth (${PAGE})`;
  }
  if (/smtpclientauthentication is disabled/i.test(answer)) {
    return `in Exchange Online PowerShell: Set-CASMailbox -Identity ${account?.user ?? 'USER'} -SmtpClientAuthenticationDisabled $false (${PAGE})`;
  }
  if (!account || !('oauth' in account)) return undefined;
  const { user, oauth } = account;
  if (oauth.kind === 'microsoft' && /\b535 5\.7\.3 /.test(answer)) {
    return (
      `the token is good, and Exchange does not let the application ${oauth.clientId} log in as ${user}: in Exchange Online PowerShell run ` +
      `New-ServicePrincipal and Add-MailboxPermission, and in Microsoft Entra grant the application permission SMTP.SendAsApp (${PAGE}); ` +
      'a change takes up to an hour'
    );
  }
  if (oauth.kind === 'google' && /\b535 5\.7\.8 /.test(answer)) {
    return `see whether ${user} has Gmail, and whether the domain-wide delegation has the scope https://mail.google.com/, which ends in a slash (${PAGE})`;
  }
  return undefined;
}

const SETTING = 'APPENGINE_SMTP_OAUTH';
const PAGE = 'see appengine-mailer-oauth(7)';
const CLOCK = 'set the clock of this machine right (timedatectl)';
