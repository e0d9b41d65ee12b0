import { decodeAddress } from '../mail/address.ts';

/** A command of LMTP, read. */
export type LmtpCommand =
  | { verb: 'LHLO' | 'DATA' | 'RSET' }
  | { verb: 'QUIT' }
  | { verb: 'MAIL'; address: string; size: number }
  | { verb: 'RCPT'; address: string }
  | { verb: 'XFORWARD'; ident: string | undefined }
  /** It has the same reply wherever it stands: it does nothing, or is refused. */
  | { verb: 'constant'; reply: string };

/**
 * Reads a line without its end (RFC 2033, RFC 5321, RFC 1870, RFC 6152, RFC 6531, Postfix's XFORWARD_README). An address is
 * everything from the first `<` to the last `>` that has only parameters behind it, valid or not.
 */
export function readLmtpCommand(line: Buffer): LmtpCommand {
  const text = line.toString('latin1');
  const [verb = ''] = text.trimEnd().toUpperCase().split(' ', 1);
  if (verb === 'MAIL' || verb === 'RCPT') return readPath(verb, text);
  if (verb === 'XFORWARD') return readXforward(text);
  if (verb === 'LHLO' || verb === 'DATA' || verb === 'RSET' || verb === 'QUIT') return { verb };
  return { verb: 'constant', reply: CONSTANT[verb] ?? '451 4.5.2 this command is not known here' };
}

function readPath(verb: 'MAIL' | 'RCPT', text: string): LmtpCommand {
  const { path, parameters = '' } = PATHS[verb].exec(text)?.groups ?? {};
  if (path === undefined) {
    return refused(verb === 'MAIL' ? 'expected MAIL FROM:<ADDRESS>' : 'expected RCPT TO:<ADDRESS>');
  }
  const address = decodeAddress(Buffer.from(path, 'latin1'));
  const given = parameters.toUpperCase().split(' ').filter(Boolean);
  const isKnown = (each: string) => verb === 'MAIL' && MAIL_PARAMETER.test(each);
  const unknown = given.find((each) => !isKnown(each));
  if (unknown !== undefined) {
    return { verb: 'constant', reply: `455 4.5.4 the parameter ${unknown} is not supported` };
  }
  if (verb === 'RCPT') return { verb, address };
  const size = given.find((each) => each.startsWith('SIZE='))?.slice('SIZE='.length);
  return { verb, address, size: Number(size ?? 0) };
}

/** Of several attributes only the id of the message at the client counts. */
function readXforward(text: string): LmtpCommand {
  const attributes = text.trim().split(/ +/).slice(1);
  if (!attributes.every((each) => /^[A-Za-z]+=/.test(each))) {
    return refused('expected XFORWARD IDENT=ID');
  }
  const ident = attributes.findLast((each) => /^IDENT=/i.test(each))?.slice('IDENT='.length);
  return { verb: 'XFORWARD', ident: ident === undefined ? undefined : fromXtext(ident) };
}

/** Undoes the encoding of RFC 3461, section 4: `+2B` is a plus sign. */
function fromXtext(text: string): string {
  return text.replace(/\+([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
}

function refused(why: string): LmtpCommand {
  return { verb: 'constant', reply: `451 4.5.2 ${why}` };
}

/** EHLO and HELO are of SMTP, whose client would not expect a reply for each recipient. */
const CONSTANT: Record<string, string> = {
  NOOP: '250 2.0.0 OK',
  VRFY: '252 2.0.0 a message to this address is taken',
  HELP: '214 2.0.0 this is LMTP (RFC 2033); the manual page appengine-mailer(8) is about it',
  EHLO: '451 4.5.1 this is LMTP: say LHLO',
  HELO: '451 4.5.1 this is LMTP: say LHLO',
};
const PARAMETERS = String.raw`(?<parameters>(?: +[A-Z0-9][A-Z0-9-]*(?:=[^ =<>]*)?)*) *$`;
const PATHS = {
  MAIL: new RegExp(`^MAIL FROM: *<(?<path>.*)>${PARAMETERS}`, 'is'),
  RCPT: new RegExp(`^RCPT TO: *<(?<path>.*)>${PARAMETERS}`, 'is'),
};
const MAIL_PARAMETER = /^(?:SIZE=\d{1,15}|BODY=(?:7BIT|8BITMIME)|SMTPUTF8)$/;
