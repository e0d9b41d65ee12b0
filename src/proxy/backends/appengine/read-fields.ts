import { parseAddressHeader, type EmailAddress } from 'mailparser';
import { statuses } from '../../../mail/enhanced-status.ts';
import { headerSize, parseHeaders, type HeaderField } from '../../../mail/headers.ts';
import { limits } from '../../../limits.ts';
import { attachmentName, isBlocked } from './attachment-name.ts';
import type { MailAttachment, MailMessage } from './mail-message.ts';
import { MimeError, parseMime, type MimePart, type ParsedMime } from './parse-mime.ts';
import { repairMime, unfolded } from './repair-mime.ts';
import { headerText, textOf } from './text-of.ts';
import { UnsendableError } from './unsendable-error.ts';

/** The fields of a message; the text is still missing where there is only HTML. */
export interface ReadFields {
  message: Omit<MailMessage, 'textBody'> & { textBody: string | undefined };
  /** The names of the header fields that the Mail API does not take. */
  dropped: string[];
}

/**
 * The Mail API's fields for a message, or why they cannot hold it. The first text that is not an attachment is the body:
 * plain or HTML, or both where they are alternatives; everything else is attached. The recipients are only those of the
 * envelope, each in the field where the header names it, otherwise in Bcc. Runs in a thread.
 */
export async function readFields(
  sender: string,
  recipients: readonly string[],
  message: Uint8Array,
): Promise<ReadFields | { unsendable: string; status: string }> {
  try {
    const { buffer, byteOffset, length } = message;
    return await fieldsOf(
      sender,
      recipients,
      Buffer.from(buffer as ArrayBuffer, byteOffset, length),
    );
  } catch (error) {
    if (!(error instanceof UnsendableError)) throw error;
    return { unsendable: error.message, status: error.status };
  }
}

async function fieldsOf(
  sender: string,
  recipients: readonly string[],
  bytes: Buffer,
): Promise<ReadFields> {
  if (headerSize(bytes) > limits.headerBytes) {
    const reason = `the header section is larger than ${limits.headerBytes} bytes`;
    throw new UnsendableError(statuses.badContent, reason);
  }
  const { header, bodyAt } = headerAndBody(bytes);
  const repaired = repairMime(bytes, header, bodyAt);
  const fields = header.map(({ name, start, end }) => {
    const text = headerText(bytes.subarray(start, end), repaired.charset);
    return { name, value: unfolded(text) };
  });
  const addresses = (name: string) =>
    fields.filter((field) => field.name === name).flatMap(({ value }) => addressesIn(value));
  const { subject, parts } = await readMime(repaired.message, bytes.subarray(bodyAt));

  const { text, html } = bodyOf(parts);
  const attached = parts.filter((part) => part !== text && part !== html);
  const htmlBody = html && (await textOf(html));
  const replyTo = addresses('reply-to').map(showAddress).join(', ');
  const message = {
    sender: senderOf(addresses('from'), sender),
    replyTo: replyTo === '' ? undefined : replyTo,
    ...recipientFields(recipients, addresses('to'), addresses('cc')),
    subject: oneLine(subject),
    textBody: text && (await textOf(text)),
    htmlBody,
    attachments: await Promise.all(attached.map(attachment)),
    headers: fields.flatMap(({ name, value }): [string, string][] => {
      const canonical = PASSED.get(name);
      const shown = oneLine(value);
      return canonical === undefined || shown === '' ? [] : [[canonical, shown]];
    }),
  };
  const dropped = fields.map(({ name }) => name).filter((name) => !isSaid(name));
  return { message, dropped: [...new Set(dropped.map((name) => name || "the mbox's first line"))] };
}

/**
 * Header and body as mail servers see them: the first line that is not a field begins the body, unless it is the `From `
 * line of an mbox. A line that begins like a delimiter is not a field.
 */
function headerAndBody(bytes: Buffer): { header: HeaderField[]; bodyAt: number } {
  const { fields, bodyAt = bytes.length } = parseHeaders(bytes);
  const isMbox = bytes.toString('latin1', 0, 5) === 'From ';
  const stray = fields.find(
    ({ name, start }) => (name === '' && !(start === 0 && isMbox)) || name.startsWith('--'),
  );
  if (!stray) return { header: fields, bodyAt };
  return { header: fields.filter(({ start }) => start < stray.start), bodyAt: stray.start };
}

async function readMime(...message: Parameters<typeof parseMime>): Promise<ParsedMime> {
  return parseMime(...message).catch((error: unknown) => {
    if (error instanceof MimeError) throw new UnsendableError(statuses.badContent, error.message);
    throw error;
  });
}

/** HTML and a text are used together only if they are alternatives: otherwise a reader would miss one of them. */
function bodyOf(parts: readonly MimePart[]): Record<'text' | 'html', MimePart | undefined> {
  const texts = parts.filter(({ type, isAttachment }) => TEXTS.has(type) && !isAttachment);
  const [first] = texts;
  const { alternative } = first ?? {};
  const versions = alternative
    ? texts.filter((text) => text.alternative === alternative)
    : texts.slice(0, 1);
  const as = (type: string) => versions.find((version) => version.type === type);
  return { text: as('text/plain'), html: as('text/html') };
}

const TEXTS = new Set(['text/plain', 'text/html']);

function senderOf([author]: readonly EmailAddress[], sender: string): string {
  if (author) return showAddress(author);
  if (sender === '') throw new UnsendableError(statuses.badSender, 'No sender specified');
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

/** Names by addresses in lower case, since case does not matter for the names that are shown. */
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
    throw new UnsendableError(statuses.badContent, reason);
  }
  // The Mail API has no charset for a text that is not a file.
  const isText = part.type.startsWith('text/') && !part.isAttachment && !part.fileName;
  const id = part.contentId?.trim().replace(/^<|>$/g, '') ?? '';
  return {
    fileName,
    data: isText ? Buffer.from(await textOf(part)) : part.content,
    contentId: CONTENT_ID.test(id) ? `<${id}>` : undefined,
  };
}

/** Google refuses a message with any other one. */
const CONTENT_ID = /^[!-;=?-~]+$/;

/** Decoded text may also have line ends and other control characters, which could become other header fields. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').trim();
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
