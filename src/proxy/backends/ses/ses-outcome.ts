import { limits } from '../../../limits.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import type { Response } from '../../../wire/exchange.ts';
import type { CallOutcome } from '../provider/call-outcome.ts';
import { jsonOf } from '../provider/json-of.ts';
import { sendingPaused } from '../sending-paused.ts';

/** The error that an answer names, such as `MessageRejected`, and its text. */
export interface SesError {
  status: number;
  /** The empty string where the answer names none: it is not from Amazon SES. */
  type: string;
  text: string;
}

/** Reads an answer that is not a 200 (AWS restJson1: the type is in a header field or in the body). */
export function sesError({ status, headers, body }: Response): SesError {
  const json = jsonOf(body);
  const named = headers['x-amzn-errortype'] ?? json['__type'] ?? json['code'];
  const type = typeof named === 'string' ? (/^(?:.*#)?(\w+)/.exec(named)?.[1] ?? '') : '';
  const text = json['message'] ?? json['Message'];
  return { status, type, text: typeof text === 'string' ? text : '' };
}

/** Whether new keys may help: those that signed have ended, or were exchanged. */
export function isOfKeys({ type }: SesError): boolean {
  return /^(?:ExpiredToken|UnrecognizedClient|InvalidClientTokenId)/.test(type);
}

/** Whether the signature was refused because of the time in it. */
export function isOfClock({ type, text }: SesError): boolean {
  return (
    /^Request(?:TimeTooSkewed|Expired)|Signature/.test(type) && OF_CLOCK.test(`${type} ${text}`)
  );
}

const OF_CLOCK = /expired|not yet current|skew/i;

/**
 * What an answer of Amazon SES to SendEmail comes to, for a message to `recipients`. Errors that it does not have a row
 * for are temporary. While the account is not proven, since nothing was sent by it, a sender that is not verified is its
 * trouble: its region may be wrong, or its identities are missing. README.md in this folder has the table.
 */
export function sesOutcome(
  response: Response,
  recipients: readonly string[],
  isProven: boolean,
): CallOutcome {
  if (response.status === 200) {
    const { MessageId: id } = jsonOf(response.body);
    if (typeof id === 'string') return { kind: 'sent', reason: `taken by Amazon SES as ${id}` };
    return { kind: 'unknown', reason: 'Amazon SES answered 200 without a MessageId' };
  }
  const error = sesError(response);
  const { status, type, text } = error;
  const said = `Amazon SES answered ${status}${type && ` ${type}`}${text && `: ${text}`}`;
  const row = ROWS.find(({ when }) => when.test(`${status} ${type} ${text}`));
  return (row?.outcome ?? otherwise)({ ...error, said, recipients, isProven });
}

interface Answered extends SesError {
  said: string;
  recipients: readonly string[];
  isProven: boolean;
}

type Outcome = (answered: Answered) => CallOutcome;

/** An answer that is in no row: nothing was sent where it is a 3xx or 4xx. */
const otherwise: Outcome = ({ status, said }) =>
  status >= 300 && status < 500
    ? unavailable(limits.providerRefusedMs)({ said })
    : { kind: 'unknown', reason: said };

function unavailable(retryAfterMs: number, remedy = '') {
  return ({ said }: Pick<Answered, 'said'>): CallOutcome => ({
    kind: 'unavailable',
    reason:
      remedy === '' ? said : `${said.slice(0, limits.reasonChars - remedy.length - 2)}; ${remedy}`,
    retryAfterMs,
  });
}

function throttled(retryAfterMs: number): Outcome {
  return ({ said: reason }) => ({ kind: 'throttled', reason, retryAfterMs });
}

function refused(status: string): Outcome {
  return ({ said: reason }) => ({ kind: 'refused', status, reason });
}

/**
 * Amazon names the identities that it does not know: where all of them are recipients, the account is in its sandbox, and
 * no mail goes to anybody else.
 */
const unverified: Outcome = (answered) => {
  const { text, recipients } = answered;
  const [, named = ''] = /identities failed the check[^:]*: *(.*)$/is.exec(text) ?? [];
  const identities = named.split(/[\s,]+/).filter((each) => each !== '');
  const to = new Set(recipients.map((recipient) => recipient.toLowerCase()));
  const isSandbox = identities.length > 0 && identities.every((each) => to.has(each.toLowerCase()));
  return isSandbox
    ? unavailable(limits.providerQuotaMs, SANDBOX)(answered)
    : senderRefused(answered);
};

/** By the first message it may be the set-up of the account, and by a later one it is this sender. */
const senderRefused: Outcome = (answered) =>
  answered.isProven
    ? refused(statuses.senderRefused)(answered)
    : unavailable(limits.providerRefusedMs, IDENTITIES)(answered);

const IDENTITIES =
  'see whether --ses-region is the region in which your senders are verified (SES console, Identities)';

const SANDBOX = 'the account is in the sandbox: ask Amazon for production access';

/** The answers, matched with `STATUS TYPE TEXT`; the first row that fits counts. */
const ROWS: { when: RegExp; outcome: Outcome }[] = [
  // A quota of the day is full; it frees itself minute by minute.
  {
    when: /^4\d\d \w*.*daily (?:message|sending) quota/i,
    outcome: throttled(limits.providerQuotaMs),
  },
  // The rate of a second.
  {
    when: /^(?:429 |4\d\d (?:TooManyRequests|\w*Throttl|LimitExceeded|\w+ .*maximum sending rate exceeded))/i,
    outcome: throttled(limits.providerSlowerMs),
  },
  {
    when: new RegExp(
      String.raw`^\d+ (?:AccountSuspended|SendingPaused)|^4\d\d \w+ .*${sendingPaused.source}`,
      'i',
    ),
    outcome: unavailable(limits.providerQuotaMs, 'see the SES console, Account dashboard'),
  },
  // Nothing is wrong with the message itself: these are its configuration set, and how many get it at once.
  {
    when: /^400 \w+ .*(?:\bsending .*\bfor (?:the )?configuration set|recipient count exceeds)/i,
    outcome: refused(statuses.trouble),
  },
  { when: /^4\d\d MailFromDomainNotVerified/, outcome: senderRefused },
  { when: /^4\d\d MessageRejected .*address(?:es)? (?:is|are) not verified/i, outcome: unverified },
  {
    when: /^413 |^4\d\d \w*TooLarge|^400 \w+ .*\b(?:size|length)\b.*(?:exceed|larger|limit|more than)/i,
    outcome: refused(statuses.tooLarge),
  },
  {
    when: /^400 BadRequest\w* .*(?:illegal|invalid|missing|contains).*(?:address|domain)|^400 (?:BadRequest\w*|MessageRejected) .*(?:address|domain) .*(?:illegal|invalid|contains|blacklisted|suppress)/i,
    outcome: ({ said: reason }) => ({ kind: 'badAddress', reason }),
  },
  {
    when: /^400 (?:MessageRejected|BadRequest\w* .*\b(?:headers?|mime|body|encoding|attachments?|lines?)\b)/i,
    outcome: refused(statuses.badContent),
  },
  {
    when: /^403 |^40[01] (?:\w*Signature|UnrecognizedClient|InvalidClientTokenId|ExpiredToken|AccessDenied|MissingAuthentication|RequestTimeTooSkewed|RequestExpired|NotAuthorized|OptInRequired|InvalidAction)/,
    outcome: unavailable(
      limits.providerRefusedMs,
      'see whether the keys are right and their user or role may ses:SendEmail and ses:SendRawEmail',
    ),
  },
  // Amazon says nothing that we know, of this message: it alone waits.
  { when: /^400 \w/, outcome: refused(statuses.trouble) },
];
