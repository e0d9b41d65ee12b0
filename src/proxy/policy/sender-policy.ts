import type { ProxyJournal } from '../proxy-journal.ts';
import { addressFault } from '../../mail/address-fault.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import {
  editHeaders,
  fieldsNamed,
  headerSize,
  headerValue,
  type HeaderField,
} from '../../mail/headers.ts';
import { limits } from '../../limits.ts';
import { isAllowed, type AllowedSenders } from './allowed-senders.ts';
import type { Delivery } from '../backends/backend.ts';
import type { DefaultSender } from './default-sender.ts';
import { isReport } from './is-report.ts';
import { headerAddresses } from '../../wire/header-addresses.ts';
import type { Verdict } from '../../wire/verdicts.ts';

/** Whom an administrator lets send. */
export interface SenderRules {
  /** For the users of keys without a list of their own; undefined allows every sender. */
  allowed: AllowedSenders | undefined;
  /** Who takes the place of a sender that is not allowed, where that is asked for. */
  defaultSender: DefaultSender | undefined;
  /** Every message asks for it. */
  fix: boolean;
}

/** Why a delivery may not be sent. */
interface Objection {
  status: string;
  reason: string;
  /** The address that is not allowed; undefined when replacing the sender is no remedy. */
  stranger?: string;
}

/** Whether a delivery may be sent: as it is, with another sender, or not, and then with which verdicts. */
export type SenderPolicy = (delivery: Delivery) => Delivery | Verdict[];

/**
 * Refuses deliveries whose sender is not allowed, or gives them the default sender where that is asked for.
 * The ledger comes before it: what was sent stays sent when the rules change.
 */
export function senderPolicy(rules: SenderRules, journal: ProxyJournal): SenderPolicy {
  return (delivery) => {
    const objection = objectionTo(delivery, rules);
    if (!objection) return { ...delivery, substitute: substituteFor(delivery, rules) };
    const { stranger } = objection;
    if (stranger === undefined || !(rules.fix || delivery.fixSender)) {
      return refuse(delivery, objection);
    }
    const { defaultSender } = rules;
    if (defaultSender === undefined || !defaultIsAllowed(delivery, rules, defaultSender)) {
      const why = defaultSender === undefined ? 'none is configured' : STRICT;
      const reason = `Unauthorized default message sender '${defaultSender?.mailbox ?? ''}': ${why}`;
      return refuse(delivery, { status: statuses.senderRefused, reason });
    }
    const fixed = withSender(delivery, defaultSender);
    // What only SMTP will take for a From is still there.
    if (authors(readingsOf(fixed.bytes))?.length !== 1) return refuse(delivery, objection);
    journal.senderFixed(delivery, delivery.sender, stranger, defaultSender.address);
    return fixed;
  };
}

/**
 * The envelope sender has to be an address, and it and every address in From have to be allowed. The null
 * sender is allowed with such a From, and for reports with any: bounces must get out, with the name of
 * whichever program made them.
 */
function objectionTo(delivery: Delivery, rules: SenderRules): Objection | undefined {
  const { sender, bytes } = delivery;
  const isNull = sender === '';
  const fault = isNull ? undefined : addressFault(sender);
  const allowed = allowedSenders(delivery, rules);
  if (fault === undefined && allowed === undefined) return undefined;
  const readings = readingsOf(bytes);
  if (isNull && readings.every(isReport)) return undefined;
  const from = authors(readings);
  if (from === undefined) {
    const why = `From cannot be checked, since it has more than ${limits.headerBytes} bytes`;
    return { status: statuses.senderRefused, reason: unauthorized(sender, why) };
  }
  if (fault !== undefined) {
    return { status: statuses.badSender, reason: unauthorized(sender, fault), stranger: sender };
  }
  const senders = isNull ? from : [sender, ...from];
  // The null sender with nobody in From is nobody who is allowed.
  const stranger = senders.length === 0 ? '' : senders.find((each) => !isAllowedBy(allowed, each));
  if (stranger === undefined) return undefined;
  const why = isNull ? `${STRICT}; ${REPORTS_ALONE}` : STRICT;
  return { status: statuses.senderRefused, reason: unauthorized(stranger, why), stranger };
}

function allowedSenders(delivery: Delivery, rules: SenderRules): AllowedSenders | undefined {
  return delivery.allowedSenders ?? rules.allowed;
}

/** The default sender where the world may ask for another one than this delivery has, and it is wanted. */
function substituteFor(delivery: Delivery, rules: SenderRules): string | undefined {
  const { defaultSender, fix } = rules;
  if (defaultSender === undefined || !(fix || delivery.fixSender)) return undefined;
  return defaultIsAllowed(delivery, rules, defaultSender) ? defaultSender.mailbox : undefined;
}

/** The default sender is the administrator's word: the list of a key need not repeat it. */
function defaultIsAllowed(
  delivery: Delivery,
  rules: SenderRules,
  { address }: DefaultSender,
): boolean {
  const lists = [rules.allowed, allowedSenders(delivery, rules)];
  return lists.some((list) => isAllowedBy(list, address));
}

function isAllowedBy(allowed: AllowedSenders | undefined, address: string): boolean {
  return allowed === undefined || isAllowed(allowed, address);
}

/** A message as it stands, and as smtp sends its header, which makes a line end of every bare CR. */
function readingsOf(bytes: Buffer): Buffer[] {
  return [bytes, headerAsSent(bytes)];
}

/**
 * Who is in From in any reading of a message, or may be read in it elsewhere (`<a@b> <c@d>` is read as the first
 * here). Undefined when From is too large.
 */
function authors(readings: readonly Buffer[]): string[] | undefined {
  const found = readings.map((message) =>
    fromFields(message)?.map((field) => headerValue(message, field)),
  );
  if (found.includes(undefined)) return undefined;
  const values = [...new Set(found.flatMap((each) => each ?? []))];
  return [...new Set([...headerAddresses(values), ...values.flatMap(addressLike)])];
}

/** The fields From, however large the header; undefined when they are too large themselves. */
function fromFields(message: Buffer): HeaderField[] | undefined {
  const fields: HeaderField[] = [];
  let size = 0;
  for (const field of fieldsNamed(message, 'from')) {
    size += field.end - field.start;
    if (size > limits.headerBytes) return undefined;
    fields.push(field);
  }
  return fields;
}

/** The header section, with a line end in the place of every bare CR. */
function headerAsSent(message: Buffer): Buffer {
  const section = Buffer.from(message.subarray(0, headerSize(message)));
  for (let at = section.indexOf(CR); at >= 0 && at < section.length; at += 1) {
    if (section[at] === CR && section[at + 1] !== LF) section[at] = LF;
  }
  return section;
}

/** Every word with an @ outside of quotes. */
function addressLike(value: string): string[] {
  return (value.match(WORD) ?? []).filter((word) => unquoted(word).includes('@'));
}

/** Without what is in quotes; a quote that is not closed is none. */
function unquoted(word: string): string {
  return word.replace(QUOTED, (quoted, closed: string) => (closed === '' ? quoted : ''));
}

/** The same delivery from another sender, in the envelope and in From. The null sender stays: nobody answers it (law 9). */
function withSender(delivery: Delivery, { address, from: mailbox }: DefaultSender): Delivery {
  const from = [...fieldsNamed(delivery.bytes, 'from')];
  const hasReplyTo = fieldsNamed(delivery.bytes, 'reply-to').next().done !== true;
  const replyTo = from[0] && !hasReplyTo ? replyToOf(delivery.bytes, from[0]) : [];
  const bytes = editHeaders(delivery.bytes, from, [`From: ${mailbox}`, ...replyTo]);
  return { ...delivery, sender: delivery.sender === '' ? '' : address, bytes };
}

/**
 * Reply-To for the authors in a field From: its own octets, whatever their charset, or only its addresses
 * where one of the authors has none with a domain, to whom nobody could reply.
 */
function replyToOf(message: Buffer, from: HeaderField): (string | Buffer)[] {
  const named = headerAddresses([headerValue(message, from)]);
  const addresses = named.filter((each) => addressFault(each) === undefined);
  if (addresses.length < named.length) {
    return addresses.length > 0 ? [`Reply-To: ${addresses.join(', ')}`] : [];
  }
  const text = message.toString('latin1', from.start, from.end);
  // A bare CR may not pass for a line end.
  const field = text.replace(/^[^:]+/, 'Reply-To').replace(/\r(?!\n)/g, '');
  return named.length > 0 ? [Buffer.from(field, 'latin1')] : [];
}

function refuse({ recipients }: Delivery, { status, reason }: Objection) {
  return recipients.map((recipient) => ({ recipient, status, reason }));
}

function unauthorized(sender: string, why: string): string {
  return `Unauthorized message sender '${sender}': ${why}`;
}

const [CR, LF] = [0x0d, 0x0a];

/** Up to the end where it is not closed: what cannot fail to match takes no longer for being hostile. */
const QUOTED = /"(?:[^"\\]|\\.?)*("?)/gs;
const WORD = new RegExp(`(?:${QUOTED.source}|[^\\s<>,;:()"])+`, 'gs');

const STRICT = 'it is not one of the allowed senders, with which it is compared to the letter';
const REPORTS_ALONE =
  'with the null sender, only reports may have another author (multipart/report, Auto-Submitted)';
