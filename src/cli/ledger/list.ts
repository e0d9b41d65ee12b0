import { command } from '../../host/command.ts';
import { countOf } from '../../host/count-of.ts';
import { parseDuration } from '../../host/duration.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { recipientStates } from '../../proxy/ledger/read-ledger.ts';
import { ledgerOption, withLedger } from '../../proxy/ledger/with-ledger.ts';
import { print, printJson } from '../print.ts';
import { jsonLinesOption } from '../json-options.ts';
import { filterOptions } from '../queue/filter.ts';
import { knownFields, knownText } from './known-text.ts';

/** `appengine-mailer ledger [list]`: recipients, one on each line. */
export const ledgerListCommand = command({
  name: 'list',
  describe: 'List recipients; by default those of whom nobody knows whether they were sent',
  isDefault: true,
  settings: { ledger: ledgerOption },
  options: {
    state: {
      choices: recipientStates,
      default: 'unknown',
      describe: 'unknown: may have been sent or not; begun: given to the backend; sent',
    },
    recipient: {
      ...filterOptions.recipient,
      describe: 'Only this recipient, or all recipients of this @domain',
    },
    'older-than': {
      value: 'DURATION',
      parse: parseDuration,
      describe: 'Only recipients that were listed or posted longer ago, such as 1h',
    },
    json: jsonLinesOption,
  },
  run: async ({ ledger, state, json, recipient, olderThan }) => {
    const now = Date.now();
    const before = olderThan === undefined ? undefined : now - olderThan;
    await withLedger(ledger, async (reader) => {
      let recipients = 0;
      for await (const known of reader.list({ states: [state], recipient, before }, now)) {
        recipients += 1;
        if (json) await printJson(knownFields(known));
        else await print(knownText(known, now));
      }
      if (recipients === 0 && (recipient ?? before) !== undefined) {
        throw new CommandError(exitCodes.no, 'no recipient matches the filter');
      }
      if (!json)
        await print(
          recipients === 0 ? `no recipient is ${state}` : countOf(recipients, 'recipient'),
        );
    });
  },
});
