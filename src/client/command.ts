import { parseDuration } from '../host/duration.ts';
import { command } from '../host/command.ts';
import { anyText, takes } from '../host/option-values.ts';
import { CollectedBytes } from '../host/collected-bytes.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { SettingDeniedError } from '../host/settings.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import { connectionOptions } from '../wire/connection-options.ts';
import type { GmailProxyOptions } from './gmail-proxy.ts';
import { USE_SENDMAIL } from './use-sendmail.ts';

/** `gmail`: sends standard input, a text for TO or a whole message; in the place of mail(1). */
export const gmailCommand = command({
  name: 'gmail',
  describe: 'Send mail from standard input: a text for TO, or without TO a whole message',
  arguments: { to: { several: true, describe: 'Addresses' } },
  settings: {
    subject: { alias: 's', value: 'TEXT', parse: anyText, describe: 'Subject of a text for TO' },
    'fix-sender': {
      flag: true,
      describe: 'Let the proxy replace a sender that is not allowed by its default sender',
    },
    queue: {
      flag: true,
      describe: 'Put the message into the queue of this host instead of sending it at once',
    },
    timeout: {
      value: 'DURATION',
      parse: parseTimeout,
      otherwise: '5m besides the upload',
      describe: 'How long to wait until the message is delivered, such as 90s',
    },
    ...connectionOptions,
  },
  run: async ({ to, subject, queue, timeout: timeoutMs, ...options }) => {
    if (to.some((address) => /[\r\n]/.test(address))) {
      throw new CommandError(exitCodes.usage, 'TO contains a line end');
    }
    if (to.length === 0 && subject !== undefined) {
      throw new CommandError(
        exitCodes.usage,
        '-s needs TO: without TO, standard input is a whole message with its own subject',
      );
    }
    if (queue && options.fixSender) {
      throw new CommandError(exitCodes.usage, '--fix-sender cannot be queued');
    }
    const input = await readInput();
    // Large modules are loaded when they are used: --help needs none of them.
    const [{ composeText }, { crowdedAddress }, { headerAddresses }] = await Promise.all([
      import('./compose-text.ts'),
      import('../wire/crowded-address.ts'),
      import('../wire/header-addresses.ts'),
    ]);
    const crowded = crowdedAddress(to);
    if (crowded !== undefined)
      throw new CommandError(exitCodes.usage, `'${crowded}' is not an address`);
    const message = to.length > 0 ? await composeText(to, subject ?? '', input) : input;
    const envelope = envelopeOf(to, headerAddresses);
    await refusals(async () =>
      queue
        ? handToQueue(message, envelope)
        : sendAtOnce(message, envelope, { ...options, timeoutMs }),
    );
  },
});

/** The recipients, where it is not the header of a whole message that says who they are. */
function envelopeOf(
  to: readonly string[],
  headerAddresses: (values: readonly string[]) => string[],
): Partial<Envelope> {
  // The header of a composed text leaves out addresses without an @, which must not be lost silently.
  if (to.length > 0) return { recipients: headerAddresses(to) };
  // Exim's pipe transport sets it, to one recipient of the message on standard input.
  const recipient = process.env['RECIPIENT'];
  return recipient ? { recipients: [recipient] } : {};
}

async function sendAtOnce(
  message: Buffer,
  envelope: Partial<Envelope>,
  { proxyUrl, ...options }: GmailProxyOptions & { proxyUrl?: string | undefined },
): Promise<void> {
  const { GmailProxy } = await import('./gmail-proxy.ts');
  await new GmailProxy(undefined, proxyUrl, options).sendMail(message, envelope);
}

function parseTimeout(text: string): number {
  const ms = parseDuration(text);
  if (ms > 0 && ms <= limits.clientTimeoutMaxMs) return ms;
  throw takes('more than 0s and at most 1d', text);
}

async function handToQueue(message: Buffer, envelope: Partial<Envelope>): Promise<void> {
  const [{ prepare }, { enqueue }] = await Promise.all([
    import('./prepare.ts'),
    import('./enqueue.ts'),
  ]);
  enqueue(prepare(message, envelope));
}

/** Runs an action. Throws CommandError 65 for what is refused for good, 75 for what can be tried later, 77 without permission. */
async function refusals(action: () => Promise<void>): Promise<void> {
  const { MessageSendingFailure } = await import('./message-sending-failure.ts');
  try {
    await action();
  } catch (error) {
    if (error instanceof SettingDeniedError) {
      throw new CommandError(
        exitCodes.notPermitted,
        `no permission to read ${error.file}, which is needed to send at once: ${USE_SENDMAIL}`,
      );
    }
    if (!(error instanceof MessageSendingFailure)) throw error;
    throw new CommandError(error.permanent ? exitCodes.refused : exitCodes.busy, error.message);
  }
}

async function readInput(): Promise<Buffer> {
  const input = new CollectedBytes();
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    input.add(piece);
    if (input.size > limits.messageBytes) {
      throw new CommandError(
        exitCodes.refused,
        `the message is larger than the limit of ${limits.messageBytes} bytes`,
      );
    }
  }
  return input.whole();
}
