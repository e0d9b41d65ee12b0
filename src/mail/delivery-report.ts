import { cut } from './cut.ts';
import { limits } from '../limits.ts';
import { printable } from './printable.ts';
import { statusInWords } from './status-in-words.ts';

/** What a report says of a recipient. */
export interface Reported {
  address: string;
  /** Enhanced status (RFC 3463). */
  status: string;
  reason: string;
  /** Whose SMTP reply the reason is: a domain name or an address literal; empty when that is not known. */
  remoteMta?: string;
}

/** A message, as the report to its sender describes it. */
export interface ReportedMessage {
  kind: 'failure' | 'delay';
  id: string;
  eximId: string;
  /** Milliseconds since 1970. */
  queuedAt: number;
  recipients: readonly Reported[];
}

export interface DeliveryReport extends ReportedMessage {
  /** The sender of the message, who gets the report. */
  to: string;
  /** Of a delay: until when it is tried, in milliseconds since 1970. */
  triedUntil: number;
  /** The message's bytes, or only its header section; undefined when they are gone. */
  original: { bytes: Buffer; whole: boolean } | undefined;
}

/** Who reports, and when. */
export interface Reporter {
  /** The name of the machine, and the domain of its addresses. */
  host: string;
  domain: string;
  /** Milliseconds since 1970. */
  now: number;
  /** The same for the same report, in letters and digits: so that a repeat can be told by its Message-ID. */
  name: string;
}

/**
 * A report of failed or delayed delivery (RFC 3464): for people, for programs, and the message itself.
 * In CRLF, but for the returned message, which stays as it is; 8-bit octets only there and in the text for
 * people.
 */
export function deliveryReport(report: DeliveryReport, reporter: Reporter): Buffer {
  const { kind, to, original } = report;
  const parts = [
    textPart(forPeople(report, reporter)),
    part(
      ['Content-Type: message/delivery-status', encoding('7bit')],
      forPrograms(report, reporter),
    ),
    ...(original ? [returned(original)] : []),
  ];
  const boundary = boundaryFor(parts, reporter.name);
  const subject =
    kind === 'failure' ? 'Your message could not be delivered' : 'Your message is delayed';
  const head = [
    ...headerFields(to, subject, reporter),
    `Content-Type: multipart/report; report-type=delivery-status;`,
    `\tboundary="${boundary}"`,
    encoding(encodingOf(Buffer.concat(parts))),
  ];
  return Buffer.concat([
    lines([...head, '', 'This is a report in MIME format (RFC 3464).']),
    ...parts.flatMap((each) => [Buffer.from(`\r\n--${boundary}\r\n`), each]),
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
}

/** One report in plain text about several messages of a sender. */
export function summaryReport(
  to: string,
  messages: readonly ReportedMessage[],
  reporter: Reporter,
): Buffer {
  const list = (kind: ReportedMessage['kind']) =>
    messages
      .filter((message) => message.kind === kind)
      .flatMap(({ id, queuedAt, recipients }) => [
        `Your message of ${new Date(queuedAt).toUTCString()} (${id}):`,
        ...recipients.flatMap(recipientForPeople),
      ]);
  const text = [
    'Several of your messages could not be delivered or are delayed.',
    'This report lists all of them.',
    '',
    ...section('These messages could not be delivered and are not tried again:', list('failure')),
    ...section('These messages are delayed. You need not send them again:', list('delay')),
  ];
  const head = headerFields(to, 'Several of your messages were not delivered', reporter);
  return Buffer.concat([lines(head), textPart(text)]);
}

function headerFields(to: string, subject: string, { domain, now, name }: Reporter): string[] {
  return [
    `Date: ${date(now)}`,
    `From: Mail Delivery System <MAILER-DAEMON@${domain}>`,
    `To: ${fieldText(to)}`,
    `Subject: ${subject}`,
    `Message-ID: <${name}@${domain}>`,
    // RFC 3834: nobody answers a report.
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
  ];
}

function forPeople(
  { kind, id, eximId, queuedAt, recipients, triedUntil, original }: DeliveryReport,
  { host }: Reporter,
): string[] {
  const isFailure = kind === 'failure';
  const outlook = isFailure
    ? ['The mail server does not try again.']
    : [
        'You need not send it again. The mail server keeps trying until',
        `${new Date(triedUntil).toUTCString()}, and reports to you if it fails for good.`,
      ];
  const attached = original?.whole
    ? 'Your message is attached.'
    : 'The header of your message is attached.';
  return [
    `This is the mail server ${host}. Your message of`,
    `${new Date(queuedAt).toUTCString()} ${isFailure ? 'could not be delivered to:' : 'has not been delivered yet to:'}`,
    '',
    ...recipients.flatMap(recipientForPeople),
    '',
    ...outlook,
    ...(original ? [attached] : []),
    'If you need help, send this report to your administrator. The message has the id',
    `${id} (Exim ${eximId}).`,
  ];
}

/** A recipient and why it failed or is delayed. */
function recipientForPeople({ address, status, reason, remoteMta }: Reported): string[] {
  const said = isSmtp(reason) ? reason : `${status} ${reason}`;
  const [to, why] = [address, said].map((text) => printable(text, limits.failureChars));
  return [
    `  ${to}`,
    `    ${statusInWords(status)}`,
    `    ${remoteMta ? `The mail server ${remoteMta} answered` : 'The answer was'}: ${why}`,
  ];
}

/** Whether a reason is the reply of a mail server (RFC 5321 4.2), as it is the whole of one or none of it. */
function isSmtp(reason: string): boolean {
  return /^[45]\d\d(?:[ -]|$)/.test(reason);
}

/** RFC 3464 2: the fields of the message, and then those of each recipient. */
function forPrograms(
  { kind, id, queuedAt, recipients, triedUntil }: DeliveryReport,
  { host }: Reporter,
): string[] {
  return [
    `Reporting-MTA: dns; ${host}`,
    `Original-Envelope-Id: ${id}`,
    `Arrival-Date: ${date(queuedAt)}`,
    ...recipients.flatMap(({ address, status, reason, remoteMta }) => [
      '',
      `Final-Recipient: ${isAscii(address) ? 'rfc822' : 'utf-8'}; ${fieldText(address)}`,
      `Action: ${kind === 'failure' ? 'failed' : 'delayed'}`,
      `Status: ${status}`,
      ...(remoteMta ? [`Remote-MTA: dns; ${fieldText(remoteMta)}`] : []),
      `Diagnostic-Code: ${isSmtp(reason) ? 'smtp;' : `x-appengine-mailer; ${status}`} ${fieldText(reason)}`,
      ...(kind === 'delay' ? [`Will-Retry-Until: ${date(triedUntil)}`] : []),
    ]),
  ];
}

/** The message as it is, where SMTP carries it so; in base64 where it would not. */
function returned({ bytes, whole }: { bytes: Buffer; whole: boolean }): Buffer {
  const type = whole ? 'message/rfc822' : 'text/rfc822-headers';
  const fit = fitForSmtp(bytes);
  if (fit) return part([`Content-Type: ${type}`, encoding(fit)], bytes);
  // RFC 2046 5.2.1 allows no base64 in message/rfc822.
  const name = whole ? 'message.eml' : 'header.txt';
  return part(
    [
      `Content-Type: application/octet-stream; name=${name}`,
      `Content-Disposition: attachment; filename=${name}`,
      encoding('base64'),
    ],
    bytes.toString('base64').match(/.{1,76}/g) ?? [],
  );
}

/** How the bytes may travel as they are; undefined with a NUL, a bare CR or a line over 998 octets (RFC 5321 4.5.3.1.6). */
function fitForSmtp(bytes: Buffer): '7bit' | '8bit' | undefined {
  const text = bytes.toString('latin1');
  if (/\0|\r(?!\n)/.test(text)) return undefined;
  if (text.split('\n').some((line) => line.replace(/\r$/, '').length > 998)) return undefined;
  return encodingOf(bytes);
}

/** The encoding of what travels as it is (RFC 2045 6.2). A multipart has that of the widest of its parts (6.4). */
function encodingOf(bytes: Buffer): '7bit' | '8bit' {
  return bytes.every((octet) => octet < 0x80) ? '7bit' : '8bit';
}

function encoding(name: '7bit' | '8bit' | 'base64'): string {
  return `Content-Transfer-Encoding: ${name}`;
}

function textPart(text: readonly string[]): Buffer {
  const body = lines(text);
  return part(['Content-Type: text/plain; charset=utf-8', encoding(encodingOf(body))], body);
}

function part(head: readonly string[], body: readonly string[] | Buffer): Buffer {
  const bytes = Buffer.isBuffer(body) ? body : lines(body);
  return Buffer.concat([lines([...head, '']), bytes]);
}

function lines(texts: readonly string[]): Buffer {
  return Buffer.from(texts.map((text) => `${text}\r\n`).join(''));
}

/** A boundary that stands in none of the parts. */
function boundaryFor(parts: readonly Buffer[], name: string): string {
  for (let number = 0; ; number += 1) {
    const boundary = `report-${number}-${name}`;
    if (!parts.some((bytes) => bytes.includes(boundary))) return boundary;
  }
}

/** Text in a header field or in one of RFC 3464's: ASCII, what is not shown as RFC 6533's \x{…} does. */
function fieldText(text: string): string {
  const ascii = printable(text).replace(
    /[^\x20-\x7e]/gu,
    (character) => `\\x{${(character.codePointAt(0) ?? 0).toString(16).toUpperCase()}}`,
  );
  return cut(ascii, limits.failureChars);
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

function section(title: string, body: readonly string[]): string[] {
  return body.length > 0 ? [title, '', ...body, ''] : [];
}

/** RFC 5322 3.3. */
function date(at: number): string {
  return new Date(at).toUTCString().replace('GMT', '+0000');
}
