import type { SMTPConnectionAuth } from 'nodemailer/lib/smtp-connection';
import type { Machine } from '../../../host/machine.ts';
import type { SmtpClient } from '../../../host/net/smtp-client.ts';
import type { OAuthCredentials } from './oauth-credentials.ts';
import { OAuthTokens } from './oauth-tokens.ts';

/** Our account at the relay, to which we log in with a password or with access tokens. */
export type SmtpAccount = { user: string } & ({ pass: string } | { oauth: OAuthCredentials });

/** Logs in over connections to the relay, which share an access token. */
export class SmtpLogin {
  /** Undefined where there is a password. */
  readonly tokens: OAuthTokens | undefined;
  readonly #auth: SMTPConnectionAuth;

  constructor(account: SmtpAccount, machine: Machine) {
    const { user } = account;
    if ('pass' in account) {
      this.#auth = { user, pass: account.pass };
      return;
    }
    this.tokens = new OAuthTokens(user, account.oauth, machine);
    this.#auth = { user, method: 'XOAUTH2', oauth2: this.tokens };
  }

  /** Rejects with the SMTPError of nodemailer, or OAuthError. */
  async over(client: SmtpClient): Promise<void> {
    try {
      await client.login(this.#auth);
    } catch (error) {
      // nodemailer asks for a new token only where the relay refuses in two steps; Microsoft's does it in one.
      this.tokens?.forget();
      throw error;
    }
  }
}
