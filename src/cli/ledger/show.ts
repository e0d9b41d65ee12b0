import type { CommandModule } from 'yargs';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { ledgerOption, withLedger } from '../../proxy/ledger/with-ledger.ts';
import { print, printJson } from '../print.ts';
import { knownFields, knownText } from './known-text.ts';

interface Arguments {
  id: string;
  ledger?: string | undefined;
  json: boolean | undefined;
}

/** `appengine-mailer ledger show ID`: what the ledger knows of a message, a recipient a line. */
export const ledgerShowCommand: CommandModule<object, Arguments> = {
  command: 'show <id>',
  describe: 'Show what is known of one message',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Its id, or KEY/ID' })
      .options(ledgerOption())
      .option('json', { type: 'boolean', describe: 'One JSON object a line' }),
  handler: async ({ id, ledger, json }) => {
    const now = Date.now();
    await withLedger(ledger, async (reader, file) => {
      const found = reader.find(id, now);
      if (found.length === 0) {
        throw new CommandError(exitCodes.no, `no recipient of a message ${id} is in ${file}`);
      }
      if (json) for (const known of found) await printJson(knownFields(known));
      else await print(found.map((known) => knownText(known, now)));
    });
  },
};
