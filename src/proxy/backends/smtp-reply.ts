import { limits } from '../../mail/limits.ts';

/** What an SMTP server answered, read. */
export interface SmtpReply {
  /** Enhanced status (RFC 3463): the reply's own, or what follows from its code. */
  status: string;
  /** The reply on one line. */
  reason: string;
  /**
   * It says that the relay takes no mail from us at present, whatever the message: nobody's mail may fail
   * for it, and it is an operator's business.
   */
  ofRelay: boolean;
}

/** What was answered: a command, or the end of the message. */
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
  return {
    status,
    reason: reason.slice(0, limits.reasonChars),
    ofRelay: code === '' || RELAY.some((row) => row.test(`${step} ${code} ${status} ${reason}`)),
  };

  function derived(): string {
    if (code === '552' && (step === 'MAIL' || step === 'message')) return '5.3.4';
    return code === '' ? '4.5.0' : `${code.charAt(0)}.0.0`;
  }
}

const REPLY =
  /^(?<code>[245]\d\d)(?:[ -]|$)(?:(?<enhanced>[245]\.\d{1,3}\.\d{1,3})(?:\s+|$))?(?<text>.*)$/;

/**
 * What is the relay's trouble and not the message's, one row a case, over `STEP CODE STATUS REPLY`. Only
 * what can be nothing else: where a message may be meant, it alone waits or fails.
 */
const RELAY = [
  /** It is about to close the connection (RFC 5321 3.8). */
  /^\w+ 421 /,
  /** Who we are: log in first, wrong password, too weak, no TLS (RFC 4954 6, RFC 3207 4). */
  /^\w+ (?:530|534|535|538|454) /,
  /** The same by enhanced status (RFC 4954 6, RFC 5248). */
  /^\w+ \d+ [45]\.7\.(?:8|9|10|11|12|13|14) /,
  /** MAIL out of order: a server that wants something before it, such as AUTH. */
  /^MAIL 503 /,
  /** No mail is taken at present; too much mail for it, such as Gmail's daily limit (RFC 3463 3.4, 3.5). */
  /^\w+ \d+ (?:4\.3\.2|[45]\.4\.5) /,
  /** Google's relay tells its limits and its own refusals with statuses that mean something else. */
  /^\w+ [45]\d\d .*(?:relay (?:sending )?limit exceeded|invalid credentials for relay|mail relay denied)/i,
];
