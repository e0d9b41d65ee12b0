import { exitCodes, CommandError } from '../../host/command-error.ts';
import { anyText } from '../../host/option-values.ts';
import { encodeAddress } from '../../mail/address.ts';
import { limits } from '../../limits.ts';
import { writeBsmtp } from '../../mail/write-bsmtp.ts';
import { readBody } from '../../spool/body.ts';
import { findMessages, type Listed } from '../../spool/list.ts';
import { recordReturnRefused, operate } from '../../spool/operate.ts';
import { returnLock } from '../../spool/locks.ts';
import type { Spool } from '../../spool/spool.ts';
import { asEximTakesLines } from './as-exim-takes-lines.ts';
import { EximRunnerEndedError, type EximRunner } from './exim-runner.ts';
import type { Operation, Result } from './operate-all.ts';

/** Where the program of Exim is. */
export const eximOption = {
  value: 'FILE',
  parse: anyText,
  default: '/usr/sbin/exim4',
  describe: "Exim's program",
} as const;

/**
 * Runs an operation with the steps that give messages back to Exim: one at a time over all programs, so
 * that none is given twice. Throws CommandError 75 when another return is at work, 78 while Exim would hand
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
  // Each answer follows a prompt; a program that gives no prompt has asked no router.
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
 * Gives Exim the message for its pending recipients without those that Exim's syntax refuses, since with one of these it
 * takes nothing. Recipients that Exim has are removed here, and the others stay held.
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

/** Why Exim took nothing of a message. */
interface Refusal {
  reason: string;
  /** The only recipient that it refuses. */
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

/** Addresses of the recipients of these messages, each once, without those that SMTP cannot carry. */
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

/** Whether SMTP cannot carry an address to Exim: it contains a line end, or the end of a text in C, or is too long. */
function isUnspeakable(address: string): boolean {
  return /[\r\n\0]/.test(address) || encodeAddress(address).length > limits.eximCommandBytes;
}

const UNSPEAKABLE = 'an address contains a line end or is too long for SMTP';
