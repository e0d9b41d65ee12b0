import { parseAddressHeader, type EmailAddress } from 'mailparser';
import { statuses } from '../../mail/enhanced-status.ts';
import { headerSize, headerValue, parseHeaders } from '../../mail/headers.ts';
import { limits } from '../../mail/limits.ts';
import type { Delivery } from '../backend.ts';
import { attachmentName, isBlocked } from './appengine-file-name.ts';
import type { MailAttachment, MailMessage } from './appengine-message.ts';
import { MimeTrouble, parseMime, textOf, type MimePart } from './appengine-parts.ts';
import { htmlAsText } from './html-as-text.ts';

/** The message cannot be said in the Mail API's fields. */
export class Unsendable extends Error {
  readonly status: string;

  constructor(status: string, reason: string) {
    super(reason);
    this.status = status;
  }
}

/**
 * The Mail API's fields for a message, and the names of the header fields that have no place in them.
 * The first text/plain that is no attachment is the text, the first such text/html the HTML, and
 * everything else is attached. Recipients are those of the envelope alone, each where the header names
 * it, else in Bcc. Throws Unsendable, or what the signal aborts with.
 */
export async function mailFields(
  { sender, recipients, bytes }: Delivery,
  giveUp: AbortSignal,
): Promise<{ message: MailMessage; dropped: string[] }> {
  if (headerSize(bytes) > limits.headerBytes) {
    const reason = `the header section is larger than ${limits.headerBytes} bytes`;
    throw new Unsendable(statuses.badContent, reason);
  }
  const { bodyAt = bytes.length, ...headers } = parseHeaders(bytes);
  const fields = headers.fields.map((field) => ({ ...field, value: headerValue(bytes, field) }));
  const addresses = (name: string) =>
    fields.filter((field) => field.name === name).flatMap(({ value }) => addressesIn(value));
  const { subject, parts } = await readMime(fields, bytes.subarray(bodyAt), giveUp);

  const text = parts.find(({ type, isAttachment }) => type === 'text/plain' && !isAttachment);
  const html = parts.find(({ type, isAttachment }) => type === 'text/html' && !isAttachment);
  const attached = parts.filter((part) => part !== text && part !== html);
  const htmlBody = html && (await textOf(html));
  const replyTo = addresses('reply-to').map(showAddress).join(', ');
  const message = {
    sender: senderOf(addresses('from'), sender),
    replyTo: replyTo === '' ? undefined : replyTo,
    ...recipientFields(recipients, addresses('to'), addresses('cc')),
    subject: oneLine(subject),
    textBody: text ? await textOf(text) : htmlBody ? await htmlAsText(htmlBody, giveUp) : '',
    htmlBody,
    attachments: await Promise.all(attached.map(attachment)),
    headers: fields.flatMap(({ name, value }): [string, string][] => {
      const canonical = PASSED.get(name);
      const shown = oneLine(value);
      return canonical === undefined || shown === '' ? [] : [[canonical, shown]];
    }),
  };
  const dropped = fields.map(({ name }) => name).filter((name) => !isSaid(name));
  return { message, dropped: [...new Set(dropped.map((name) => name || 'a line without a name'))] };
}

/**
 * mailparser is given the fields that say what the body is, and Subject, in UTF-8: it would take 8-bit
 * octets of any other charset for errors.
 */
async function readMime(
  fields: readonly { name: string; value: string }[],
  body: Buffer,
  giveUp: AbortSignal,
) {
  const lines = fields
    .filter(({ name }) => name === 'subject' || name.startsWith('content-'))
    .map(({ name, value }) => `${name}: ${value}\n`);
  const message = Buffer.concat([Buffer.from(`${lines.join('')}\n`), body]);
  const parsed = await parseMime(message, giveUp).catch((error: unknown) => {
    if (error instanceof MimeTrouble) throw new Unsendable(statuses.badContent, error.message);
    throw error;
  });
  // A multipart without parts: its body is not lost.
  if (parsed.parts.length === 0 && body.length > 0) parsed.parts.push({ ...PLAIN, content: body });
  return parsed;
}

const PLAIN = {
  type: 'text/plain',
  charset: undefined,
  isAttachment: false,
  fileName: undefined,
  contentId: undefined,
};

function senderOf([author]: readonly EmailAddress[], sender: string): string {
  if (author) return showAddress(author);
  if (sender === '') throw new Unsendable(statuses.badSender, 'No sender specified');
  return sender;
}

function recipientFields(
  recipients: readonly string[],
  to: readonly EmailAddress[],
  cc: readonly EmailAddress[],
): Pick<MailMessage, 'to' | 'cc' | 'bcc'> {
  const named = { to: byAddress(to), cc: byAddress(cc) };
  const fields = { to: [] as string[], cc: [] as string[], bcc: [] as string[] };
  for (const address of recipients) {
    const key = address.toLowerCase();
    const field = named.to.has(key) ? 'to' : named.cc.has(key) ? 'cc' : 'bcc';
    const name = field === 'bcc' ? '' : (named[field].get(key) ?? '');
    fields[field].push(showAddress({ name, address }));
  }
  return fields;
}

/** Names by addresses in lower case: for whom to show, a difference in case is none. */
function byAddress(addresses: readonly EmailAddress[]): Map<string, string> {
  return new Map(addresses.map(({ name, address = '' }) => [address.toLowerCase(), name]));
}

function addressesIn(value: string): EmailAddress[] {
  const { value: addresses } = parseAddressHeader(value, { flatten: true, decodePunycode: false });
  return addresses.filter(({ address }) => address);
}

function showAddress({ name, address = '' }: EmailAddress): string {
  const shown = oneLine(name);
  if (shown === '') return address;
  const atoms = /^[\p{L}\p{N}\p{M}!#$%&'*+/=?^_`{|}~ -]+$/u.test(shown);
  return `${atoms ? shown : `"${shown.replace(/["\\]/g, String.raw`\$&`)}"`} <${address}>`;
}

async function attachment(part: MimePart, index: number): Promise<MailAttachment> {
  const fileName = attachmentName(part, index + 1);
  if (isBlocked(fileName)) {
    const reason = `Google won't let us send an attachment named '${fileName}'`;
    throw new Unsendable(statuses.badContent, reason);
  }
  // The charset of a text that is no file cannot be said.
  const isText = part.type.startsWith('text/') && !part.isAttachment && !part.fileName;
  return {
    fileName,
    data: isText ? Buffer.from(await textOf(part)) : part.content,
    contentId: part.contentId && `<${oneLine(part.contentId).replace(/^<|>$/g, '')}>`,
  };
}

/** Also what was encoded may have line ends and other controls, which could become other header fields. */
function oneLine(text: string): string {
  return text
    .toWellFormed()
    .replace(/\p{Cc}+/gu, ' ')
    .trim();
}

function isSaid(name: string): boolean {
  return PASSED.has(name) || SAID.has(name) || name.startsWith('content-');
}

/** Header fields that say what the Mail API's own fields do. */
const SAID = new Set(['from', 'reply-to', 'to', 'cc', 'bcc', 'subject', 'mime-version']);

/** HEADER_WHITELIST of Google's mail.py, which is compared to the letter. */
const PASSED = new Map(
  [
    'Auto-Submitted',
    'In-Reply-To',
    'List-Id',
    'List-Unsubscribe',
    'On-Behalf-Of',
    'References',
    'Resent-Date',
    'Resent-From',
    'Resent-To',
  ].map((name) => [name.toLowerCase(), name]),
);
