import type { CommandModule, InferredOptionTypes, Options } from 'yargs';
import { countOf } from '../../host/count-of.ts';
import { parseDuration } from '../../host/duration.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { recipientStates } from '../../proxy/ledger/read-ledger.ts';
import { ledgerOption, withLedger } from '../../proxy/ledger/with-ledger.ts';
import { print, printJson } from '../print.ts';
import { addressOf, filterOptions } from '../queue/filter.ts';
import { knownFields, knownText } from './known-text.ts';

const options = {
  state: {
    choices: recipientStates,
    default: 'unknown' as const,
    describe: 'Those that may have been sent or not, that the backend has, or that were sent',
  },
  recipient: filterOptions.recipient,
  'older-than': {
    type: 'string',
    describe: 'Only listed or posted longer ago, such as 1h',
    requiresArg: true,
  },
  json: { type: 'boolean', describe: 'One JSON object a line' },
} as const satisfies Record<string, Options>;

type Arguments = InferredOptionTypes<typeof options> & { ledger?: string | undefined };

/** `appengine-mailer ledger [list]`: recipients, one a line. */
export const ledgerListCommand: CommandModule<object, Arguments> = {
  command: ['list', '$0'],
  describe: 'List recipients that may have been sent or not',
  builder: (yargs) => yargs.options({ ...options, ...ledgerOption() }),
  handler: async ({ ledger, state, json, ...argv }) => {
    const now = Date.now();
    const recipient = addressOf('recipient', argv.recipient);
    const age = argv['older-than'];
    const before = age === undefined ? undefined : now - parseDuration(age);
    await withLedger(ledger, async (reader) => {
      let recipients = 0;
      for (const known of reader.list({ states: [state], recipient, before }, now)) {
        recipients += 1;
        if (json) await printJson(knownFields(known));
        else await print(knownText(known, now));
      }
      if (recipients === 0 && (recipient ?? before) !== undefined) {
        throw new CommandError(exitCodes.no, 'no recipient fits the filter');
      }
      if (!json)
        await print(
          recipients === 0 ? `no recipient is ${state}` : countOf(recipients, 'recipient'),
        );
    });
  },
};
