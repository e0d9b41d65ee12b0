import type { Readable } from 'node:stream';
import NodemailerConnection, {
  type SMTPConnectionOptions,
  type SMTPConnectionSendCallback,
  type SMTPEnvelope,
} from 'nodemailer/lib/smtp-connection';
import { addressFault } from '../../mail/address-fault.ts';

/** Sender ('' is the null sender) and recipients; the rest is nodemailer's. */
export interface SmtpEnvelope extends SMTPEnvelope {
  from: string;
  to: string[];
}

/** What nodemailer's types leave out. */
declare class WholeConnection extends NodemailerConnection {
  constructor(options?: SMTPConnectionOptions);
  _sendRcpt(recipient: string, done: unknown): void;
  _sendCommand(line: string, logged?: string): void;
}

/**
 * nodemailer's connection, which sends every valid address to the letter. nodemailer refuses an envelope
 * with < or > in an address, though they are legal within quotes (RFC 5321 4.1.2), and takes away a byte
 * order mark at an end. So it is given control characters as stand-ins for these, and its commands are
 * written with what they stand for. No valid address has a control character: that is checked before.
 */
export class SmtpConnection extends (NodemailerConnection as typeof WholeConnection) {
  /** As nodemailer's. With an address that is not valid it calls back an Error, and sends nothing. */
  override send(
    envelope: SmtpEnvelope,
    message: string | Buffer | Readable,
    done: SMTPConnectionSendCallback,
  ): void {
    const { from, to } = envelope;
    const addresses = from === '' ? to : [from, ...to];
    const fault = addresses.map(addressFault).find((each) => each !== undefined);
    // Nodemailer's types want a result besides; it does not give one either.
    if (fault !== undefined) return (done as (error: Error) => void)(new Error(fault));
    envelope.from = withStandIns(from);
    envelope.to = to.map(withStandIns);
    super.send(envelope, message, done);
  }

  /** Here, so that the recipient in a refusal is to the letter, too. */
  override _sendRcpt(recipient: string, done: unknown): void {
    super._sendRcpt(toTheLetter(recipient), done);
  }

  override _sendCommand(line: string, logged?: string): void {
    super._sendCommand(toTheLetter(line), logged);
  }
}

function withStandIns(address: string): string {
  return STAND_INS.reduce((text, [letter, standIn]) => text.replaceAll(letter, standIn), address);
}

function toTheLetter(line: string): string {
  return STAND_INS.reduce((text, [letter, standIn]) => text.replaceAll(standIn, letter), line);
}

/** That of the byte order mark is not ASCII either: nodemailer looks whether SMTPUTF8 is needed. */
const STAND_INS = [
  ['<', '\x01'],
  ['>', '\x02'],
  ['\ufeff', '\x80'],
] as const;
