import { exitCodes, CommandError } from '../../host/command-error.ts';
import { encodeAddress } from '../../mail/address.ts';
import { limits } from '../../limits.ts';
import { writeBsmtp } from '../../mail/write-bsmtp.ts';
import { readBody } from '../../spool/body.ts';
import { findMessages, type Listed } from '../../spool/list.ts';
import { recordReturnRefused, operate } from '../../spool/operate.ts';
import { returnLock } from '../../spool/return-lock.ts';
import type { Spool } from '../../spool/spool.ts';
import { asEximTakesLines } from './as-exim-takes-lines.ts';
import { EximRunnerEndedError, type EximRunner } from './exim-runner.ts';
import type { Operation, Result } from './operate-all.ts';

/** The option of `queue return` that says where Exim is. */
export const eximOption = {
  type: 'string',
  default: '/usr/sbin/exim4',
  describe: 'Exim’s program',
  requiresArg: true,
} as const;

/**
 * Runs an operation with the steps that give messages back to Exim: one at a time over all programs, so
 * that none is given twice. Throws Failure 75 when another return is at work, 78 while Exim would hand
 * a message straight back to us.
 */
export async function giveBack<T>(
  spool: Spool,
  exim: EximRunner,
  operation: (steps: Required<Pick<Operation, 'before' | 'after'>>) => Promise<T>,
): Promise<T> {
  const lock = returnLock(spool.folder);
  if (!lock) {
    throw new CommandError(
      exitCodes.busy,
      `another \`queue return\` is at work on ${spool.folder}`,
    );
  }
  try {
    return await operation({
      before: async (ids) => refuseLoop(exim, addressesOf(spool, ids)),
      after: async (id) => giveToExim(spool, exim, id),
    });
  } finally {
    lock.release();
  }
}

/** Asks Exim how it would route these addresses. */
async function refuseLoop(exim: EximRunner, addresses: readonly string[]): Promise<void> {
  if (addresses.length === 0) return;
  const lines = addresses.map((address) =>
    Buffer.concat([encodeAddress(address), Buffer.from('\n')]),
  );
  const { code, stdout, stderr } = await exim.run('route', lines);
  if (code === null) {
    throw new CommandError(
      exitCodes.busy,
      `\`${exim.program} -bt\` was killed: it may hang on the DNS; try again later`,
    );
  }
  // Each answer follows a prompt; whoever gives no prompt has not asked its routers.
  if (!stdout.startsWith('> ')) {
    throw new CommandError(
      exitCodes.configuration,
      `\`${exim.program} -bt\` does not work: ${stderr || stdout}`,
    );
  }
  for (const answer of stdout.split(/^> /m)) {
    const router = /(?:router|transport) = (appengine_mailer\w*)/.exec(answer)?.[1];
    if (router === undefined) continue;
    throw new CommandError(
      exitCodes.configuration,
      `Exim would hand mail for ${answer.split('\n', 1)[0]} straight back to this queue (${router}): ` +
        'run `appengine-mailer exim disable` first',
    );
  }
}

/**
 * Gives Exim the message for who is pending, but for those whom its syntax refuses: with one of these it takes nothing.
 * What Exim has is removed here, what it has not stays held.
 */
async function giveToExim(spool: Spool, exim: EximRunner, id: string): Promise<Result> {
  const [message] = findMessages(spool, id, spool.now());
  if (!message) return 'missing';
  const all = pending(message);
  const refused = new Map(all.filter(isUnspeakable).map((address) => [address, UNSPEAKABLE]));
  for (;;) {
    const recipients = all.filter((address) => !refused.has(address));
    const refusal =
      recipients.length === 0 ? undefined : await refusalOf(spool, exim, message, recipients);
    if (refusal?.recipient !== undefined) {
      refused.set(refusal.recipient, refusal.reason);
      continue;
    }
    if (refusal === undefined && refused.size === 0) {
      return operate(spool, id, { verb: 'returned', now: spool.now() });
    }
    const reasons = [...refused].map(
      ([address, reason]) => `<${address.slice(0, limits.quotedChars)}>: ${reason}`,
    );
    const reason = (refusal?.reason ?? reasons.join('; ')).slice(0, limits.failureChars);
    const taken = refusal ? [] : recipients;
    recordReturnRefused(spool, id, reason, taken);
    return taken.length > 0 ? 'part' : 'kept';
  }
}

/** Why Exim has nothing of a message. */
interface Refusal {
  reason: string;
  /** Whose address is all that it refuses. */
  recipient?: string | undefined;
}

/** Why Exim did not take a message for these recipients; undefined when it has it. */
async function refusalOf(
  spool: Spool,
  exim: EximRunner,
  { seq, size, sender }: Listed,
  recipients: string[],
): Promise<Refusal | undefined> {
  if (isUnspeakable(sender)) return { reason: UNSPEAKABLE };
  try {
    // Batch SMTP: Exim takes nothing of a message whose closing dot it does not see.
    const bytes = asEximTakesLines(readBody(spool, seq, size));
    const input = writeBsmtp({ sender, recipients }, bytes);
    const { code, readAll, stdout, stderr } = await exim.run('take', input);
    if (code === 0) {
      return readAll ? undefined : { reason: 'it ended before it had read the message' };
    }
    const reason = (stdout || stderr).split('\n', 1)[0] || `it ends with ${code ?? 'a signal'}`;
    // MAIL is the first line, and each recipient has one of the next.
    const line = /^5\d\d [^]*?\nError detected in line (\d+)$/m.exec(stdout)?.[1];
    return { reason, recipient: recipients[Number(line) - 2] };
  } catch (error) {
    if (error instanceof EximRunnerEndedError) throw error;
    return { reason: (error as Error).message };
  }
}

/** Addresses of who would get these messages, each once, that can be asked about. */
function addressesOf(spool: Spool, ids: readonly string[]): string[] {
  const messages = ids.flatMap((id) => findMessages(spool, id, spool.now()));
  const addresses = messages.flatMap(({ recipients }) =>
    recipients.filter(({ state }) => state !== 'sent').map(({ address }) => address),
  );
  return [...new Set(addresses)].filter((each) => each !== '' && !isUnspeakable(each));
}

function pending({ recipients }: Listed): string[] {
  return recipients.filter(({ state }) => state === 'pending').map(({ address }) => address);
}

/** What SMTP cannot say to Exim: it has what ends a line there, or what C takes for the end of a text, or is too long. */
function isUnspeakable(address: string): boolean {
  return /[\r\n\0]/.test(address) || encodeAddress(address).length > limits.eximCommandBytes;
}

const UNSPEAKABLE = 'an address that has a line end, or is too long, SMTP cannot say';
