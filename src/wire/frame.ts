import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import { parseJson } from './parse-json.ts';

/** The media type of HTTP v2. */
export const v2Type = 'application/vnd.appengine-mailer.v2';

/** A webhook-id of ours: no dot, which separates what is signed, and fit for a file's name. */
export const messageId = /^[0-9A-Za-z_-]{1,64}$/;

/** The id of a ledger, which is the same as long as the ledger exists. */
export function isLedgerId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9A-Za-z_-]{1,64}$/.test(value);
}

/** How much waits at the client, as it tells the proxy. */
export interface QueueReport {
  /** Messages that are neither finished nor held. */
  length: number;
  /** For how many seconds the oldest of them has waited; undefined when there is none. */
  oldestSeconds?: number | undefined;
}

/** What a v2 request wants besides that its message is sent. */
export interface FrameOptions {
  queue?: QueueReport | undefined;
  /** A sender who may not send is to be replaced by the proxy's default sender. */
  fixSender?: boolean | undefined;
  /** Nothing is to be sent: it asks what became of an earlier post, and has no message. */
  ask?: boolean | undefined;
  /** The id of the ledger that the post is for: a proxy with another one refuses it with 412. */
  ledger?: string | undefined;
}

/** The body of a v2 request before the message: one line of JSON and its LF. */
export function encodeFrame(
  { sender, recipients }: Envelope,
  { fixSender, ask, ledger, queue }: FrameOptions = {},
): Buffer {
  const line = {
    sender,
    recipients,
    ...(fixSender && { fix_sender: true }),
    ...(ask && { ask }),
    ledger,
    ...(queue && { queue: { length: queue.length, oldest_s: queue.oldestSeconds } }),
  };
  return Buffer.from(`${JSON.stringify(line)}\n`);
}

/** A v2 body, taken apart; `bytes` is a view into it. */
export interface Frame {
  envelope: Envelope;
  fixSender: boolean;
  ask: boolean;
  ledger: string | undefined;
  queue: QueueReport | undefined;
  bytes: Buffer;
}

/** A body that is not of version 2; the message is one line for the client. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** Takes a v2 body apart. Throws FrameError. */
export function decodeFrame(body: Buffer): Frame {
  const end = body.indexOf(0x0a);
  requireFrame(end >= 0, 'the body has no line of JSON');
  requireFrame(end <= limits.envelopeBytes, 'the line of JSON is too long');
  const frame = { ...parseLine(body.subarray(0, end)), bytes: body.subarray(end + 1) };
  requireFrame(!frame.ask || frame.bytes.length === 0, 'a request with "ask" has a message');
  return frame;
}

/**
 * Whether a line of JSON has about as few objects and lists as an envelope, one of each. JSON.parse takes seconds, in which
 * nobody else is answered, for millions of them.
 */
function isFlat(line: Buffer): boolean {
  let opened = 0;
  let inString = false;
  for (let at = 0; at < line.length; at += 1) {
    const octet = line[at];
    if (octet === BACKSLASH) at += 1;
    else if (octet === QUOTE) inString = !inString;
    else if (!inString && (octet === BRACE || octet === BRACKET)) opened += 1;
    if (opened > OPENED_MAX) return false;
  }
  return true;
}

const OPENED_MAX = 16;
const [QUOTE, BACKSLASH, BRACE, BRACKET] = Buffer.from('"\\{[');

function parseLine(line: Buffer): Omit<Frame, 'bytes'> {
  requireFrame(isFlat(line), 'the first line of the body is not an envelope');
  const members = membersOfLine(line);
  const { sender, recipients, fix_sender: fixSender = false, ask = false, ledger } = members;
  requireFrame(typeof sender === 'string', '"sender" is not a string');
  requireFrame(isStrings(recipients), '"recipients" is not a list of strings');
  requireFrame(
    recipients.length <= limits.handOverRecipients,
    `there are more than ${limits.handOverRecipients} recipients`,
  );
  requireFrame(new Set(recipients).size === recipients.length, 'a recipient is listed twice');
  requireFrame(typeof fixSender === 'boolean', '"fix_sender" is not true or false');
  requireFrame(typeof ask === 'boolean', '"ask" is not true or false');
  requireFrame(ledger === undefined || isLedgerId(ledger), '"ledger" is not the id of a ledger');
  const queue = queueOf(members['queue']);
  return { envelope: { sender, recipients }, fixSender, ask, ledger, queue };
}

function queueOf(value: unknown): QueueReport | undefined {
  if (value === undefined) return undefined;
  const { length, oldest_s: oldestSeconds } = (value ?? {}) as Record<string, unknown>;
  requireFrame(isCount(length), '"length" of "queue" is not a whole number');
  requireFrame(
    oldestSeconds === undefined || isCount(oldestSeconds),
    '"oldest_s" of "queue" is not a whole number',
  );
  return { length, oldestSeconds };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function membersOfLine(line: Buffer): Record<string, unknown> {
  try {
    return parseJson(line);
  } catch {
    throw new FrameError('the first line of the body is not JSON in UTF-8');
  }
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

function requireFrame(isRight: boolean, fault: string): asserts isRight {
  if (!isRight) throw new FrameError(fault);
}
