import type { SMTPError } from 'nodemailer/lib/smtp-connection';
import { limits } from '../../../limits.ts';

/** An error of a relay, or of the connection to it, on one line. The error of a host with several addresses has only a code. */
export function smtpErrorText(error: unknown): string {
  const { message, code, response, command } = error as SMTPError;
  const answered =
    response && `it answered "${response}" to ${command === 'CONN' ? 'us' : command}`;
  const text = answered || message || code || 'no reason given';
  return text.replace(/\s+/g, ' ').slice(0, limits.reasonChars);
}
