import type { CommandModule } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, Failure } from '../../host/failure.ts';
import { printable } from '../../mail/printable.ts';
import { readBody } from '../../spool/body.ts';
import { findMessage, type Listed } from '../../spool/list.ts';
import { openSpool, spoolOption } from '../../spool/open-spool.ts';
import { print } from '../print.ts';
import { entryJson, time } from './entry-json.ts';

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
      .positional('id', { type: 'string', demandOption: true, describe: 'Its id' })
      .options(environmentOptions({ spool: spoolOption }))
      .option('raw', { type: 'boolean', describe: 'Its bytes, as Exim wrote them' })
      .option('json', { type: 'boolean', describe: 'As one JSON object' })
      .conflicts('raw', 'json'),
  handler: async (argv) => {
    const spool = openSpool(argv.spool, 'operator');
    const message = findMessage(spool, argv.id, Date.now());
    if (!message) throw new Failure(exitCodes.no, `no message ${argv.id} in ${argv.spool}`);
    if (argv.raw) {
      const body = readBody(spool, message.seq, message.size);
      if (!body) throw new Failure(exitCodes.no, `message ${argv.id} has no body any more`);
      for (const part of body) await print(part);
    } else {
      await print(`${argv.json ? entryJson(message) : entryText(message)}\n`);
    }
    spool.close();
  },
};

function entryText(message: Listed): string {
  const { lastStatus, lastReason } = message;
  const fields: [string, string | number | null][] = [
    ['id', message.id],
    ['Exim id', message.eximId],
    ['state', message.state],
    ['sender', `<${message.sender}>`],
    ['size', `${message.size} bytes`],
    ['queued at', time(message.queuedAt)],
    ['due at', time(message.dueAt)],
    ['attempts', message.attempts],
    ['last answer', lastStatus === null ? null : `${lastStatus} ${lastReason}`],
    ['expires at', time(message.expiresAt)],
    ...message.recipients.map(({ address, state, status, reason }): [string, string] => [
      'recipient',
      `<${address}> ${state}${status === null ? '' : ` (${status} ${reason})`}`,
    ]),
  ];
  return fields
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${`${name}:`.padEnd(14)}${printable(String(value))}`)
    .join('\n');
}
