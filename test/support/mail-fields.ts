import assert from 'node:assert/strict';
import { mailFields } from '../../src/proxy/backends/appengine/mail-fields.ts';
import type { MailMessage } from '../../src/proxy/backends/appengine/mail-message.ts';

/** A message as its lines, in latin1: a character is an octet. */
export function octets(...lines: string[]): Buffer {
  return Buffer.from(`${lines.join('\n')}\n`, 'latin1');
}

/** The Mail API's fields of a message from s@example.com to r@example.org, or to others. */
export async function fieldsOf(
  bytes: Buffer,
  recipients: readonly string[] = ['r@example.org'],
): ReturnType<typeof mailFields> {
  const delivery = { key: '', id: 'x', sender: 's@example.com', recipients, bytes };
  return mailFields(delivery);
}

/** Asserts every field; what is not expected to be something is expected to be empty. */
export async function assertFields(bytes: Buffer, expected: Partial<MailMessage>): Promise<void> {
  const { message } = await fieldsOf(bytes);
  assert.deepEqual(message, {
    sender: 's@example.com',
    replyTo: undefined,
    to: [],
    cc: [],
    bcc: ['r@example.org'],
    subject: '',
    textBody: '',
    htmlBody: undefined,
    attachments: [],
    headers: [],
    ...expected,
  });
}

/** An attachment as it is expected. */
export function attached(fileName: string, data: string | Buffer, contentId?: string) {
  return { fileName, data: Buffer.from(data as string), contentId };
}

/** Header and body of a multipart: each part is its lines. */
export function multipart(subtype: string, boundary: string, ...parts: string[][]): string[] {
  const inner = parts.flatMap((part) => [`--${boundary}`, ...part]);
  return [`Content-Type: multipart/${subtype}; boundary="${boundary}"`, '', ...inner].concat(
    `--${boundary}--`,
  );
}
