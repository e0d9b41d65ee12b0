import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { localTime } from '../../host/local-time.ts';
import { addressText } from '../../mail/address-list.ts';
import { hasBody, readBody } from '../../spool/body.ts';
import type { Listed } from '../../spool/list.ts';
import { shownTime, type ShownTime } from '../../sqlite/shown-time.ts';
import type { Spool } from '../../spool/spool.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { jsonObjectOption } from '../json-options.ts';
import { print, printBytes, printJson } from '../print.ts';
import { dueTime, entryFields } from './entry-json.ts';
import { idArgument, namedMessages } from './named-messages.ts';
import { recipientText } from './recipient-text.ts';
import { subjectOf } from './subject.ts';

/** `appengine-mailer queue show ID`: what the spool knows of a message, or with --raw its bytes. */
export const showCommand = command({
  name: 'show',
  describe: 'Show one message',
  arguments: { id: idArgument },
  settings: { spool: spoolOption },
  options: {
    raw: { flag: true, excludes: 'json', describe: 'Print its bytes, as Exim wrote them' },
    json: jsonObjectOption,
  },
  run: async ({ id, spool: folder, raw, json }) => {
    await withSpool(folder, 'operator', async (spool) => {
      const shown = shownTime(spool, Date.now());
      const messages = namedMessages(spool, id, shown.now);
      if (raw) {
        await printRaw(spool, messages);
      } else if (json) {
        for (const message of messages) await printJson(entryFields(message, shown));
      } else {
        for (const [nth, message] of messages.entries()) {
          if (nth > 0) await print('');
          await print(entryLines(message, subjectOf(spool, message), shown));
        }
      }
    });
  },
});

async function printRaw(spool: Spool, messages: readonly Listed[]): Promise<void> {
  const [message, ...more] = messages;
  if (!message || more.length > 0) {
    const ids = messages.map(({ id }) => id).join(' ');
    throw new CommandError(
      exitCodes.usage,
      `this Exim id has several messages; name one of ${ids}`,
    );
  }
  if (!hasBody(spool, message.seq)) {
    throw new CommandError(exitCodes.no, `the body of message ${message.id} has been removed`);
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
    ...message.recipients.map((each): [string, string] => ['recipient', recipientText(each)]),
  ];
  return fields
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${`${name}:`.padEnd(14)}${value}`);
}
