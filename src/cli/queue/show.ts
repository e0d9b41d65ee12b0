import type { CommandModule } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { localTime } from '../../host/local-time.ts';
import { addressText } from '../../mail/address-list.ts';
import { hasBody, readBody } from '../../spool/body.ts';
import { findMessages, type Listed } from '../../spool/list.ts';
import { shownTime, type ShownTime } from '../../sqlite/shown-time.ts';
import type { Spool } from '../../spool/spool.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print, printBytes, printJson } from '../print.ts';
import { dueTime, entryFields } from './entry-json.ts';
import { subjectOf } from './subject.ts';

interface Arguments {
  id: string;
  spool: string;
  raw: boolean | undefined;
  json: boolean | undefined;
}

/** `appengine-mailer queue show ID`: what the spool knows of a message, or with --raw its bytes. */
export const showCommand: CommandModule<object, Arguments> = {
  command: 'show <id>',
  describe: 'Show one message',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Its id, or its Exim id' })
      .options(environmentOptions({ spool: spoolOption }))
      .option('raw', { type: 'boolean', describe: 'Its bytes, as Exim wrote them' })
      .option('json', { type: 'boolean', describe: 'As one JSON object' })
      .conflicts('raw', 'json'),
  handler: async (argv) => {
    await withSpool(argv.spool, 'operator', async (spool) => {
      const shown = shownTime(spool, Date.now());
      const messages = findMessages(spool, argv.id, shown.now);
      if (messages.length === 0) {
        throw new CommandError(exitCodes.no, `no message ${argv.id} in ${argv.spool}`);
      }
      if (argv.raw) {
        await printRaw(spool, messages);
      } else if (argv.json) {
        for (const message of messages) await printJson(entryFields(message, shown));
      } else {
        for (const [nth, message] of messages.entries()) {
          if (nth > 0) await print('');
          await print(entryLines(message, subjectOf(spool, message), shown));
        }
      }
    });
  },
};

async function printRaw(spool: Spool, messages: readonly Listed[]): Promise<void> {
  const [message, ...more] = messages;
  if (!message || more.length > 0) {
    const ids = messages.map(({ id }) => id).join(' ');
    throw new CommandError(
      exitCodes.usage,
      `that Exim id has several messages, name one of ${ids}`,
    );
  }
  if (!hasBody(spool, message.seq)) {
    throw new CommandError(exitCodes.no, `message ${message.id} has no body any more`);
  }
  for (const part of readBody(spool, message.seq, message.size)) await printBytes(part);
}

function entryLines(message: Listed, subject: string | null, shown: ShownTime): string[] {
  const { lastStatus, lastReason } = message;
  const fields: [string, string | number | null][] = [
    ['id', message.id],
    ['Exim id', message.eximId],
    ['state', message.state],
    ['sender', addressText(message.sender)],
    ['subject', subject],
    ['size', `${message.size} bytes`],
    ['queued at', localTime(message.queuedAt)],
    ['due at', localTime(dueTime(message, shown))],
    ['attempts', message.attempts],
    ['last answer', lastStatus === null ? null : `${lastStatus} ${lastReason}`],
    ['expires at', localTime(shown.wall(message.expiresAt))],
    ...message.recipients.map(({ address, state, status, reason }): [string, string] => [
      'recipient',
      `${addressText(address)} ${state}${status === null ? '' : ` (${status} ${reason})`}`,
    ]),
  ];
  return fields
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${`${name}:`.padEnd(14)}${value}`);
}
