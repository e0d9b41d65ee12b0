import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { exitCodes, Failure } from '../../host/failure.ts';
import { withoutSecrets } from '../../host/settings.ts';
import { encodeAddress } from '../../mail/address.ts';
import { limits } from '../../mail/limits.ts';
import { writeBsmtp } from '../../mail/write-bsmtp.ts';
import { readBody } from '../../spool/body.ts';
import { findMessages, type Listed } from '../../spool/list.ts';
import { keep, operate } from '../../spool/operate.ts';
import { returnLock } from '../../spool/return-lock.ts';
import type { Spool } from '../../spool/spool.ts';
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
  exim: string,
  operation: (steps: Required<Pick<Operation, 'before' | 'after'>>) => Promise<T>,
): Promise<T> {
  const lock = returnLock(spool.folder);
  if (!lock) {
    throw new Failure(exitCodes.busy, `another \`queue return\` is at work on ${spool.folder}`);
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
async function refuseLoop(exim: string, addresses: readonly string[]): Promise<void> {
  if (addresses.length === 0) return;
  const lines = addresses.map((address) =>
    Buffer.concat([encodeAddress(address), Buffer.from('\n')]),
  );
  const { code, stdout, stderr } = await run(exim, ['-bt'], lines);
  if (code === null) {
    throw new Failure(
      exitCodes.busy,
      `\`${exim} -bt\` was killed: it may hang on the DNS; try again later`,
    );
  }
  // Each answer follows a prompt; whoever gives no prompt has not asked its routers.
  if (!stdout.startsWith('> ')) {
    throw new Failure(
      exitCodes.configuration,
      `\`${exim} -bt\` does not work: ${stderr || stdout}`,
    );
  }
  for (const answer of stdout.split(/^> /m)) {
    const router = /(?:router|transport) = (appengine_mailer\w*)/.exec(answer)?.[1];
    if (router === undefined) continue;
    throw new Failure(
      exitCodes.configuration,
      `Exim would hand mail for ${answer.split('\n', 1)[0]} straight back to this queue (${router}): ` +
        'run `appengine-mailer exim disable` first',
    );
  }
}

/** Gives Exim the message for who is pending, and removes it when Exim has it. Else it stays held. */
async function giveToExim(spool: Spool, exim: string, id: string): Promise<Result> {
  const [message] = findMessages(spool, id, spool.now());
  if (!message) return 'missing';
  const refusal = await refusalOf(spool, exim, message);
  if (refusal !== undefined) {
    keep(spool, id, refusal.slice(0, limits.failureChars));
    return 'kept';
  }
  return operate(spool, 'returned', id, spool.now());
}

/** Why Exim did not take a message; undefined when Exim has it. */
async function refusalOf(spool: Spool, exim: string, message: Listed): Promise<string | undefined> {
  const { seq, size, sender } = message;
  const recipients = pending(message);
  if ([sender, ...recipients].some((address) => BREAKS_LINE.test(address))) {
    return 'an address has a line end, which SMTP cannot say';
  }
  try {
    // Batch SMTP: Exim takes nothing of a message whose closing dot it does not see.
    const input = writeBsmtp({ sender, recipients }, readBody(spool, seq, size));
    const { code, readAll, stdout, stderr } = await run(exim, ['-bS', '-oep'], input);
    if (code === 0) return readAll ? undefined : 'it ended before it had read the message';
    return (stdout || stderr).split('\n', 1)[0] || `it ends with ${code ?? 'a signal'}`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Addresses of who would get these messages, each once, that can be asked about. */
function addressesOf(spool: Spool, ids: readonly string[]): string[] {
  const messages = ids.flatMap((id) => findMessages(spool, id, spool.now()));
  const addresses = messages.flatMap(({ recipients }) =>
    recipients.filter(({ state }) => state !== 'sent').map(({ address }) => address),
  );
  return [...new Set(addresses)].filter((each) => each !== '' && !BREAKS_LINE.test(each));
}

function pending({ recipients }: Listed): string[] {
  return recipients.filter(({ state }) => state === 'pending').map(({ address }) => address);
}

/**
 * Runs Exim on the input, of which it may read less. Code is null when it was killed, as it is after
 * limits.eximMs. Throws what the input throws, and Failure 78 when there is no such program.
 */
async function run(
  exim: string,
  args: readonly string[],
  input: Iterable<Buffer>,
): Promise<{ code: number | null; readAll: boolean; stdout: string; stderr: string }> {
  const child = spawn(exim, args, {
    timeout: limits.eximMs,
    killSignal: 'SIGKILL',
    env: withoutSecrets(process.env),
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
  }
  const fed = pipeline(Readable.from(input), child.stdin).catch((error: Error) => error);
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    const fault = await fed;
    // An Exim that stops reading says by its exit code why.
    if (fault instanceof Error && (fault as NodeJS.ErrnoException).code !== 'EPIPE') throw fault;
    return { code, readAll: !(fault instanceof Error), ...output };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EACCES') throw error;
    const hint = 'name Exim’s program with --exim or APPENGINE_MAILER_EXIM';
    throw new Failure(exitCodes.configuration, `cannot run ${exim}: ${message}; ${hint}`);
  }
}

// What ends a line of SMTP, or what C takes for the end of a text.
const BREAKS_LINE = /[\r\n\0]/;
