import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { ledgerOption, withLedger } from '../../proxy/ledger/with-ledger.ts';
import { jsonLinesOption } from '../json-options.ts';
import { print, printJson } from '../print.ts';
import { knownFields, knownText } from './known-text.ts';

/** `appengine-mailer ledger show ID`: what the ledger knows of a message, a recipient on each line. */
export const ledgerShowCommand = command({
  name: 'show',
  describe: 'Show what is known of one message',
  arguments: { id: { describe: 'Id of the message, or KEY/ID' } },
  settings: { ledger: ledgerOption },
  options: { json: jsonLinesOption },
  run: async ({ id, ledger, json }) => {
    const now = Date.now();
    await withLedger(ledger, async (reader, file) => {
      const found = await reader.find(id, now);
      if (found.length === 0) {
        throw new CommandError(exitCodes.no, `${file} knows no recipient of a message ${id}`);
      }
      if (json) for (const known of found) await printJson(knownFields(known));
      else await print(found.map((known) => knownText(known, now)));
    });
  },
});
