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

/** The senders that an administrator allows. */
export interface SenderRules {
  /** For the users of keys without a list of their own; undefined allows every sender. */
  allowed: AllowedSenders | undefined;
  /** Replaces a sender that is not allowed, where that is asked for. */
  defaultSender: DefaultSender | undefined;
  /** Senders that are not allowed are replaced, as if every message asked for it. */
  fix: boolean;
}

/** Why a delivery may not be sent. */
interface PolicyViolation {
  status: string;
  reason: string;
  /** The address that is not allowed; undefined when another sender would not help. */
  offendingAddress?: string;
}

/** The delivery that may be sent, as it is or with another sender; or the verdicts when it may not be sent. */
export type SenderPolicy = (delivery: Delivery) => Delivery | Verdict[];

/**
 * Refuses deliveries whose sender is not allowed, or gives them the default sender where that is asked for.
 * The ledger is asked before it: what was sent stays sent when the rules change.
 */
export function senderPolicy(rules: SenderRules, journal: ProxyJournal): SenderPolicy {
  return (delivery) => {
    const violation = violationOf(delivery, rules);
    if (!violation) return { ...delivery, fallbackSender: fallbackSender(delivery, rules) };
    const { offendingAddress } = violation;
    if (offendingAddress === undefined || !isFixWanted(delivery, rules)) {
      return refuse(delivery, violation);
    }
    const { defaultSender } = rules;
    if (defaultSender === undefined || !defaultIsAllowed(delivery, rules, defaultSender)) {
      const why = defaultSender === undefined ? 'none is configured' : STRICT;
      const reason = `Unauthorized default message sender '${defaultSender?.mailbox ?? ''}': ${why}`;
      return refuse(delivery, { status: statuses.senderRefused, reason });
    }
    const fixed = withSender(delivery, defaultSender);
    // A From that only an SMTP server reads as such is still there.
    if (authors(readingsOf(fixed.bytes))?.length !== 1) return refuse(delivery, violation);
    journal.senderFixed(delivery, delivery.sender, offendingAddress, defaultSender.address);
    return fixed;
  };
}

/**
 * The envelope sender has to be an address, and it and every address in From have to be allowed. The null sender is
 * allowed with such a From, and for reports with any: bounces must get out, whatever name the program that made them
 * puts there.
 */
function violationOf(delivery: Delivery, rules: SenderRules): PolicyViolation | undefined {
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
    const reason = unauthorized(sender, fault);
    return { status: statuses.badSender, reason, offendingAddress: sender };
  }
  const senders = isNull ? from : [sender, ...from];
  // The null sender without any address in From is not allowed.
  const offendingAddress =
    senders.length === 0 ? '' : senders.find((each) => !isAllowedBy(allowed, each));
  if (offendingAddress === undefined) return undefined;
  const why = isNull ? `${STRICT}; ${REPORTS_ALONE}` : STRICT;
  const reason = unauthorized(offendingAddress, why);
  return { status: statuses.senderRefused, reason, offendingAddress };
}

function isFixWanted(delivery: Delivery, rules: SenderRules): boolean {
  return rules.fix || delivery.fixSender === true;
}

function allowedSenders(delivery: Delivery, rules: SenderRules): AllowedSenders | undefined {
  return delivery.allowedSenders ?? rules.allowed;
}

/** The default sender, where it is wanted: the server that the mail goes to may refuse the message's own. */
function fallbackSender(delivery: Delivery, rules: SenderRules): string | undefined {
  const { defaultSender } = rules;
  if (defaultSender === undefined || !isFixWanted(delivery, rules)) return undefined;
  return defaultIsAllowed(delivery, rules, defaultSender) ? defaultSender.mailbox : undefined;
}

/** The administrator has chosen the default sender: the list of a key need not repeat it. */
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

/** The message as it is, and with its header as the smtp backend sends it: with a line end for every bare CR. */
function readingsOf(bytes: Buffer): Buffer[] {
  return [bytes, headerAsSent(bytes)];
}

/**
 * The addresses in From in any reading of a message, also those that only other programs may read there (of
 * `<a@b> <c@d>` only the first is read here). Undefined when From is too large.
 */
function authors(readings: readonly Buffer[]): string[] | undefined {
  const found = readings.map((message) =>
    fromFields(message)?.map((field) => headerValue(message, field)),
  );
  if (found.includes(undefined)) return undefined;
  const values = [...new Set(found.flatMap((each) => each ?? []))];
  return [...new Set([...headerAddresses(values), ...values.flatMap(addressLike)])];
}

/** The fields From, of a header of any size; undefined when they themselves are too large. */
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

/** Every word that has an @ outside of quotes. */
function addressLike(value: string): string[] {
  return (value.match(WORD) ?? []).filter((word) => unquoted(word).includes('@'));
}

/** The word without its quoted parts; a quote that is not closed does not count. */
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

function refuse({ recipients }: Delivery, { status, reason }: PolicyViolation) {
  return recipients.map((recipient) => ({ recipient, status, reason }));
}

function unauthorized(sender: string, why: string): string {
  return `Unauthorized message sender '${sender}': ${why}`;
}

const [CR, LF] = [0x0d, 0x0a];

/** It reaches the end of the text where it is not closed: a pattern that always matches cannot be made slow. */
const QUOTED = /"(?:[^"\\]|\\.?)*("?)/gs;
const WORD = new RegExp(`(?:${QUOTED.source}|[^\\s<>,;:()"])+`, 'gs');

const STRICT = 'it is not one of the allowed senders; the part before the @ has to match exactly';
const REPORTS_ALONE =
  'with the null sender, only reports may have another author (multipart/report, Auto-Submitted)';
