import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import { EXIM_ID } from '../spool/message-fields.ts';
import { IncomingMessage } from './incoming-message.ts';
import { readLmtpCommand, type LmtpCommand } from './lmtp-command.ts';

/** A whole message, to be committed. */
export interface Received {
  /** Its id at the client, where XFORWARD told one. */
  ident: string | undefined;
  envelope: Envelope;
  message: IncomingMessage;
}

/** What came of some input. */
export interface Progress {
  /** What to write to the client, whole lines; often nothing. */
  replies: string;
  /** The message is to be committed; before anything more is pushed, `answer` makes the replies about it. */
  received?: Received;
  /** What was not looked at yet: it is to be pushed next. */
  rest: Buffer;
  /** The connection ends. */
  isOver: boolean;
}

/**
 * What an LMTP server says (RFC 2033), apart from sockets and time: octets in, replies and whole messages out. It never answers
 * 5xx: the client would return the message to its sender, and whether a recipient fails is for the proxy to decide (law 5).
 */
export class LmtpSession {
  readonly #bytesMax: number;
  #line: Buffer = EMPTY;
  #isGreeted = false;
  #transaction: Transaction | undefined;
  /** The id of the next message at the client, as XFORWARD tells it. */
  #ident: string | undefined;
  #refusals = 0;

  constructor(bytesMax: number = limits.messageBytes) {
    this.#bytesMax = bytesMax;
  }

  /** What the client is told first. */
  static readonly greeting = '220 appengine-mailer LMTP\r\n';

  /** Whether a message is under way: its sender is known. */
  get isInTransaction(): boolean {
    return this.#transaction !== undefined;
  }

  /** Whether the bytes of a message are under way. */
  get isInMessage(): boolean {
    return this.#transaction?.message !== undefined;
  }

  /** Whether a command has begun and is not complete. */
  get isInCommand(): boolean {
    return this.#line.length > 0;
  }

  /** How many bytes of memory the message takes that is under way, with its addresses. */
  get held(): number {
    const { addressBytes = 0, message } = this.#transaction ?? {};
    return addressBytes + (message?.held ?? 0);
  }

  /** Takes what arrives; it is not kept. */
  push(chunk: Buffer): Progress {
    let replies = '';
    let rest = chunk;
    while (rest.length > 0) {
      const transaction = this.#transaction;
      if (transaction?.message) {
        rest = transaction.message.push(rest);
        if (!transaction.message.isWhole) continue;
        return {
          replies,
          received: this.#received(transaction, transaction.message),
          rest,
          isOver: false,
        };
      }
      const newline = rest.indexOf(LF);
      const end = newline < 0 ? rest.length : newline + 1;
      this.#keepLine(rest.subarray(0, end));
      rest = rest.subarray(end);
      if (newline < 0) break;
      const { reply, isOver = false } = this.#answerLine();
      replies += `${reply}\r\n`;
      if (isOver) return { replies, rest: EMPTY, isOver };
    }
    return { replies, rest: EMPTY, isOver: false };
  }

  /** The replies about a message: one for each RCPT that was taken, in their order (RFC 2033, section 4.2). */
  answer(replyTo: (recipient: string) => string): string {
    const { recipients = [] } = this.#transaction ?? {};
    this.#reset();
    return recipients.map((recipient) => `${replyTo(recipient)}\r\n`).join('');
  }

  /** Of a line that is too long only the beginning is kept. */
  #keepLine(part: Buffer): void {
    const room = limits.envelopeLineBytes + 1 - this.#line.length;
    if (room > 0) this.#line = Buffer.concat([this.#line, part.subarray(0, room)]);
  }

  #answerLine(): Answer {
    const line = this.#line;
    this.#line = EMPTY;
    const isTooLong = line.length > limits.envelopeLineBytes;
    const end = line.at(-2) === CR ? -2 : -1;
    const command: LmtpCommand = isTooLong
      ? {
          verb: 'constant',
          reply: `451 4.5.2 a line is over ${limits.envelopeLineBytes} octets long`,
        }
      : readLmtpCommand(line.subarray(0, end));
    const answer = this.#execute(command);
    // A message with any number of recipients comes to its end, and those above the limit with the next try.
    const isRefusal = answer.reply.startsWith('4') && !answer.reply.startsWith(SURPLUS);
    if (isRefusal) this.#refusals += 1;
    if (this.#refusals <= limits.intakeRefusals) return answer;
    return { reply: '421 4.7.0 too many commands were refused', isOver: true };
  }

  #execute(command: LmtpCommand): Answer {
    if (command.verb === 'QUIT') return { reply: '221 2.0.0 goodbye', isOver: true };
    return { reply: this.#replyTo(command) };
  }

  #replyTo(command: Exclude<LmtpCommand, { verb: 'QUIT' }>): string {
    if (command.verb === 'MAIL') return this.#mail(command.address, command.size);
    if (command.verb === 'RCPT') return this.#recipient(command.address);
    if (command.verb === 'XFORWARD') return this.#xforward(command.ident);
    if (command.verb === 'DATA') return this.#data();
    if (command.verb === 'constant') return command.reply;
    this.#reset();
    if (command.verb === 'RSET') return OK;
    this.#isGreeted = true;
    return EXTENSIONS;
  }

  #mail(sender: string, size: number): string {
    if (!this.#isGreeted) return '451 4.5.1 say LHLO first';
    if (this.#transaction) return '451 4.5.1 there is a sender already';
    if (size > this.#bytesMax) {
      return `452 4.3.4 the message is larger than the limit of ${this.#bytesMax} bytes`;
    }
    this.#transaction = { sender, recipients: [], addressBytes: sender.length };
    return '250 2.1.0 OK';
  }

  #recipient(recipient: string): string {
    if (!this.#transaction) return '451 4.5.1 say MAIL first';
    const { recipients, addressBytes } = this.#transaction;
    if (recipients.length >= limits.handOverRecipients) {
      return `${SURPLUS} there are more than ${limits.handOverRecipients} recipients`;
    }
    if (addressBytes + recipient.length > limits.handOverAddressBytes) {
      return `${SURPLUS} the addresses take more than ${limits.handOverAddressBytes} bytes`;
    }
    this.#transaction.addressBytes += recipient.length;
    recipients.push(recipient);
    return '250 2.1.5 OK';
  }

  #data(): string {
    const transaction = this.#transaction;
    if (!transaction || transaction.recipients.length === 0)
      return '451 4.5.1 there is no recipient';
    // A client that tells the id by XFORWARD is not Exim, and writes no such line.
    const hasIdLine = this.#ident === undefined;
    transaction.message = new IncomingMessage(this.#bytesMax, { hasIdLine });
    return '354 send the message';
  }

  #xforward(ident: string | undefined): string {
    if (this.#transaction) return '451 4.5.1 XFORWARD has to come before MAIL';
    this.#ident = ident !== undefined && EXIM_ID.test(ident) ? ident : undefined;
    return OK;
  }

  #received({ sender, recipients }: Transaction, message: IncomingMessage): Received {
    return {
      ident: this.#ident,
      envelope: { sender, recipients: [...new Set(recipients)] },
      message,
    };
  }

  #reset(): void {
    this.#transaction = undefined;
    this.#ident = undefined;
  }
}

interface Answer {
  reply: string;
  isOver?: boolean;
}

interface Transaction {
  sender: string;
  /** As they came, also those that came twice. */
  recipients: string[];
  addressBytes: number;
  /** From DATA on. */
  message?: IncomingMessage;
}

const LF = 0x0a;
const CR = 0x0d;
const EMPTY = Buffer.alloc(0);
const OK = '250 2.0.0 OK';
/** A recipient is to be handed over with the same message later (RFC 5321, section 4.5.3.1.10). */
const SURPLUS = '452 4.5.3';

/** SIZE tells no limit: a client that knows one returns a larger message to its sender. */
const EXTENSIONS = [
  '250-appengine-mailer',
  '250-PIPELINING',
  '250-8BITMIME',
  '250-SMTPUTF8',
  '250-ENHANCEDSTATUSCODES',
  '250-SIZE',
  '250 XFORWARD IDENT',
].join('\r\n');
