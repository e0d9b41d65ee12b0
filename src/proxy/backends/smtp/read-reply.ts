import { limits } from '../../../limits.ts';
import { sendingPaused } from '../sending-paused.ts';

/** A reply of an SMTP server. */
export interface SmtpReply {
  /** Enhanced status (RFC 3463): that of the reply, or one that is derived from its code. */
  status: string;
  /** The reply on one line. */
  reason: string;
  /**
   * Whether the relay takes no mail from us at present, whatever the message: no mail may fail for that, and an
   * operator has to act.
   */
  ofRelay: boolean;
  /**
   * Of such a reply: that it has got too much from us in a short time, and how long to wait, in milliseconds, where that
   * is known: 0 is soon.
   */
  throttledMs?: number | undefined;
  /** Whether nodemailer gave it instead of the relay. */
  isOurs?: boolean;
}

/** The command that was answered, or the end of the message. */
export type SmtpStep = 'MAIL' | 'RCPT' | 'DATA' | 'message';

/**
 * Reads a reply, whose lines end in LF, to a step of a mail transaction. An enhanced status is believed
 * when its class is that of the code (RFC 2034 4); without one nothing is invented: x.0.0, or 5.3.4 for a
 * 552 that is about the message's size (RFC 1870 6).
 */
export function readReply(reply: string, step: SmtpStep): SmtpReply {
  const [first = '', ...rest] = reply.split('\n');
  const { code = '', enhanced = '', text = first } = REPLY.exec(first)?.groups ?? {};
  const more = rest.map((line) => REPLY.exec(line)?.groups?.['text'] ?? line);
  const reason = [code, enhanced, text, ...more].join(' ').replace(/\s+/g, ' ').trim();
  const status = enhanced.startsWith(code.charAt(0)) && enhanced !== '' ? enhanced : derived();
  const ofRelay =
    code === '' || RELAY.some((row) => row.test(`${step} ${code} ${status} ${reason}`));
  return {
    status,
    reason: reason.slice(0, limits.reasonChars),
    ofRelay,
    ...(ofRelay && THROTTLING.test(reason) && { throttledMs: waitOf(reason) }),
  };

  function derived(): string {
    if (code === '552' && (step === 'MAIL' || step === 'message')) return '5.3.4';
    return code === '' ? '4.5.0' : `${code.charAt(0)}.0.0`;
  }
}

const REPLY =
  /^(?<code>[245]\d\d)(?:[ -]|$)(?:(?<enhanced>[245]\.\d{1,3}\.\d{1,3})(?:\s+|$))?(?<text>.*)$/;

/** How long to wait, by the text of a throttling: limits of a day end with the day, whose beginning nobody knows. */
function waitOf(reason: string): number {
  return /\bdaily\b|\b(?:per|a) day\b|\b24 hours\b/i.test(reason) ? limits.throttleDayMs : 0;
}

/**
 * What relays say, among those replies, when they get too much and take it later: Amazon SES ("454 Throttling failure:
 * Maximum sending rate exceeded"), Microsoft ("432 4.3.2 Concurrent connections limit exceeded") and others by a 4xx, Google
 * also by "550 5.4.5 Daily user sending limit exceeded". Other 5xx are accounts that were blocked, which a person frees.
 */
const THROTTLING =
  /^4\d\d .*(?:throttl|\brate\b|too (?:many|much|fast|quickly)|quota|limit exceeded|exceeded .*limit|daily)|^5\d\d 5\.4\.5 .*daily/i;

/**
 * The replies that are about the relay and not about the message, one row a case, matched with `STEP CODE STATUS REPLY`.
 * Only replies that cannot mean anything else are here: where the message may be meant, it alone waits or fails.
 */
const RELAY = [
  /** It is about to close the connection (RFC 5321 3.8). */
  /^\w+ 421 /,
  /** The login is missing, wrong or too weak, or there is no TLS (RFC 4954 6, RFC 3207 4). */
  /^\w+ (?:530|534|535|538|454) /,
  /** The same by enhanced status (RFC 4954 6, RFC 5248); 5.7.57 is Microsoft's. */
  /^\w+ \d+ [45]\.7\.(?:8|9|10|11|12|13|14|57) /,
  /** Microsoft without passwords. The status alone may mean REQUIRETLS (RFC 8689 6). */
  /^\w+ \d+ 5\.7\.30 .*basic authentication is not supported/i,
  /**
   * Microsoft about our account (its list of NDR codes): a tenant at its limit (232 to 236), an account or address
   * that is banned or at its limit (501 to 503, 508, 511, 606 to 649), a wrong EHLO (506), a tenant that is
   * blocked or has not registered its domain (700 to 750). Its 504, 505, 507, 510, 513 and 703 are about
   * recipients, 509 (DMARC), 512 and 520 about the message.
   */
  /^\w+ 5\d\d 5\.7\.(?:23[2-6]|50[12368]|511|60[6-9]|6[1-4]\d|7(?!03)[0-4]\d|750) /,
  /** Microsoft again: an account that was blocked for spam, or has reached its daily number of recipients. */
  /^\w+ 5\d\d 5\.1\.(?:8 .*bad outbound sender|90 .*daily limit)/i,
  /** Microsoft again, with statuses that mean something else: the account has sent too much, or made too many errors. */
  /^\w+ 5\d\d .*(?:submission ?quota ?exceeded|sender throttled due to continuous)/i,
  /** MAIL out of order: a server that wants something before it, such as AUTH. */
  /^MAIL 503 /,
  /** The relay takes no mail at present, or had too much, such as Gmail's daily limit (RFC 3463 3.4, 3.5). */
  /^\w+ \d+ (?:4\.3\.2|[45]\.4\.5) /,
  /** Google's relay uses statuses that mean something else for its limits and its own refusals. */
  /^\w+ [45]\d\d .*(?:relay (?:sending )?limit exceeded|invalid credentials for relay|mail relay denied)/i,
  /** Amazon SES and others: the account may not send. */
  new RegExp(String.raw`^\w+ [45]\d\d .*${sendingPaused.source}`, 'i'),
  /** Amazon SES: it is still in its sandbox, or lacks an identity. */
  /^\w+ [45]\d\d .*message rejected: email address is not verified/i,
];
