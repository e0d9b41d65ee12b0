import type { CommandModule, InferredOptionTypes, Options } from 'yargs';
import { parseDuration } from '../host/duration.ts';
import { environmentOptions } from '../host/environment-options.ts';
import { CollectedBytes } from '../host/collected-bytes.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { SettingDeniedError } from '../host/settings.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import { connectionOptions } from '../wire/connection-options.ts';
import type { GmailProxyOptions } from './gmail-proxy.ts';
import { USE_SENDMAIL } from './use-sendmail.ts';

const options = {
  subject: {
    alias: 's',
    type: 'string',
    describe: 'Subject of a text for TO',
    requiresArg: true,
  },
  'fix-sender': {
    type: 'boolean',
    default: false,
    describe: 'Let the proxy put its default sender in the place of one who may not send',
  },
  queue: {
    type: 'boolean',
    default: false,
    describe: "Put it into this host's queue instead of sending it at once",
  },
  timeout: {
    type: 'string',
    describe: 'How long to wait until it is delivered, such as 90s; else 5m besides the upload',
    requiresArg: true,
  },
  ...connectionOptions,
} as const satisfies Record<string, Options>;

type Arguments = InferredOptionTypes<typeof options> & { to: string[] | undefined };

/** `gmail`: sends standard input, a text for TO or a whole message; in the place of mail(1). */
export const gmailCommand: CommandModule<object, Arguments> = {
  command: '$0 [to..]',
  describe: 'Send mail from standard input: a text for TO, or without TO a whole message',
  builder: (yargs) =>
    yargs
      .options(environmentOptions(options))
      .positional('to', { type: 'string', array: true, describe: 'Addresses' }),
  handler: async ({ to: named = [], _: dashed, subject, queue, timeout, ...argv }) => {
    const to = [...named, ...dashed.map(String)]; // What follows -- may begin with a dash.
    if (to.some((address) => /[\r\n]/.test(address))) {
      throw new CommandError(exitCodes.usage, 'TO has a line end in it');
    }
    if (to.length === 0 && subject !== undefined) {
      throw new CommandError(exitCodes.usage, '-s is for a text: name whom the text is for');
    }
    if (queue && argv.fixSender) {
      throw new CommandError(exitCodes.usage, '--fix-sender cannot be queued');
    }
    const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout);
    const input = await readInput();
    // What is large is loaded when it is used: --help needs none of it.
    const [{ composeText }, { crowdedAddress }, { headerAddresses }] = await Promise.all([
      import('./compose-text.ts'),
      import('../wire/crowded-address.ts'),
      import('../wire/header-addresses.ts'),
    ]);
    const crowded = crowdedAddress(to);
    if (crowded !== undefined)
      throw new CommandError(exitCodes.usage, `'${crowded}' is no address`);
    const message = to.length > 0 ? await composeText(to, subject ?? '', input) : input;
    // Exim's pipe transport sets it, to one recipient of the message on standard input.
    const recipient = process.env['RECIPIENT'];
    // The header of a composed text leaves out who has no @: nobody may be lost without a word.
    const envelope =
      to.length > 0
        ? { recipients: headerAddresses(to) }
        : recipient
          ? { recipients: [recipient] }
          : {};
    await refusals(async () =>
      queue
        ? handToQueue(message, envelope)
        : sendAtOnce(message, envelope, { ...argv, timeoutMs }),
    );
  },
};

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
  throw new CommandError(
    exitCodes.usage,
    `--timeout takes more than 0s and at most 1d, and got ${text}`,
  );
}

async function handToQueue(message: Buffer, envelope: Partial<Envelope>): Promise<void> {
  const [{ prepare }, { enqueue }] = await Promise.all([
    import('./prepare.ts'),
    import('./enqueue.ts'),
  ]);
  enqueue(prepare(message, envelope));
}

/** Runs it, and tells by an exit code what went wrong: 65 refused for good, 75 try later, 77 not for this user. */
async function refusals(action: () => Promise<void>): Promise<void> {
  const { MessageSendingFailure } = await import('./message-sending-failure.ts');
  try {
    await action();
  } catch (error) {
    if (error instanceof SettingDeniedError) {
      throw new CommandError(
        exitCodes.notPermitted,
        `no permission to read ${error.file}, without which nothing is sent at once: ${USE_SENDMAIL}`,
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
