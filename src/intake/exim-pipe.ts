import { parseArgs } from 'node:util';
import { giveUpRoot } from '../host/give-up-root.ts';
import { loadDefaults, spoolFolder } from '../host/settings.ts';
import { limits } from '../limits.ts';
import { enqueue } from '../spool/enqueue.ts';
import { EXIM_ID } from '../spool/message-fields.ts';
import { Spool } from '../spool/spool.ts';
import { BsmtpReader } from './bsmtp.ts';
import { failureText } from './failure-text.ts';
import { readInput } from './read-input.ts';

/**
 * exim-pipe EXIM_ID [--spool DIR] [--max-size BYTES]
 *
 * Exim's pipe transport runs it for each message. Reads the message as batch SMTP from the descriptor `input`,
 * stores it in the spool, prints one line and returns the exit code: 0 after the whole message is
 * committed with synchronous=FULL (law 1), 75 for everything else, so that Exim keeps the message and
 * hands it over again. The whole program starts anew for each message: it imports little.
 */
export async function eximPipe(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  input: number,
): Promise<{ exitCode: 0 | 75; line: string }> {
  try {
    loadDefaults('/etc/default/appengine-mailer'); // Where it cannot be read this ends here: it may name the spool.
    const { eximId, folder, bytesMax } = interpret(args, environment);
    if (process.geteuid?.() === 0) await giveUpRoot(folder, () => environment);
    const reader = new BsmtpReader(bytesMax);
    for (const chunk of readInput(input)) reader.push(chunk);
    const message = reader.end();

    const spool = new Spool(folder, 'pipe');
    const { id, already } = enqueue(spool, { eximId, ...message }, spool.now());
    if (!already) spool.wakeDrain();
    spool.close();
    return { exitCode: 0, line: `${already ? 'already queued' : 'queued'} ${id}` };
  } catch (error) {
    return { exitCode: 75, line: failureText(error) };
  }
}

function interpret(args: readonly string[], environment: NodeJS.ProcessEnv) {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { spool: { type: 'string' }, 'max-size': { type: 'string' } },
  });
  const [eximId = '', ...more] = positionals;
  if (!EXIM_ID.test(eximId) || more.length > 0) {
    throw new Error(`expected one Exim id and got ${JSON.stringify(positionals.join(' '))}`);
  }
  const folder = values.spool || spoolFolder(environment);
  const size = values['max-size'] || environment['APPENGINE_MAILER_MAX_SIZE'];
  const bytesMax = size === undefined ? limits.messageBytes : Number(size);
  if (!Number.isSafeInteger(bytesMax) || bytesMax < 1 || bytesMax > limits.messageBytes) {
    throw new Error(`--max-size takes 1 to ${limits.messageBytes} bytes and got ${size}`);
  }
  return { eximId, folder, bytesMax };
}
