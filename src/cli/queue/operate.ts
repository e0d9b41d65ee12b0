import { command, type Command, type Words } from '../../host/command.ts';
import { countOf } from '../../host/count-of.ts';
import { showDuration } from '../../host/duration.ts';
import { exitCodes, CommandError, type ExitCode } from '../../host/command-error.ts';
import { withProgress } from '../../host/progress.ts';
import type { OptionTable, Values } from '../../host/options.ts';
import { limits } from '../../limits.ts';
import { hasBody } from '../../spool/body.ts';
import { findMessages } from '../../spool/list.ts';
import type { Verb } from '../../spool/operate.ts';
import type { Spool } from '../../spool/spool.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';
import { filterOf, filterOptions, NONE_MATCHES } from './filter.ts';
import { EximRunner } from './exim-runner.ts';
import { eximOption, giveBack } from './give-back.ts';
import { operateAll, type Operation, type Result, type Results } from './operate-all.ts';
import { serveExim } from './serve-exim.ts';

/** `appengine-mailer queue retry|hold|release|bounce|delete|return ID…|--all`, or with a filter. */
export function operateCommands(): Command[] {
  return [
    operateCommand(
      'retry',
      'Send now, with a new lifetime; also a failed message, even if its sender was told, while it has its body',
      { force: forceOption },
    ),
    operateCommand('hold', 'Do not send until released'),
    operateCommand('release', 'Send held messages, with a new lifetime', { force: forceOption }),
    operateCommand('bounce', 'Fail what is not sent yet; the sender gets a report'),
    operateCommand('delete', 'Remove without sending and without a report, for all recipients'),
    returnCommand(),
  ];
}

function operateCommand(verb: Verb, describe: string, options: OptionTable = {}): Command {
  return command({
    name: verb,
    describe,
    arguments: namedArguments,
    settings: { spool: spoolOption },
    options: { ...choosingOptions(verb), ...options },
    run: async (argv) => {
      const chosen = chosenBy(verb, argv);
      await withSpool(argv.spool, 'operator', async (spool) => {
        const results = await withProgress(async (progress) =>
          operateAll(spool, { ...chosen, progress }),
        );
        await tell(spool, chosen, results);
      });
    },
  });
}

function returnCommand(): Command {
  return command({
    name: 'return',
    describe: 'Give back to Exim with the envelope, and remove when Exim has the message',
    arguments: namedArguments,
    settings: { spool: spoolOption, exim: eximOption },
    // serveExim adds --by-owner.
    options: { ...choosingOptions('return'), 'by-owner': { flag: true } },
    run: async (argv) => {
      const chosen = chosenBy('return', argv);
      if (!argv.byOwner) await serveExim(argv.exim, argv.spool);
      const exim = new EximRunner(argv.exim);
      await withSpool(argv.spool, 'operator', async (spool) => {
        const results = await withProgress(async (progress) =>
          giveBack(spool, exim, async (steps) =>
            operateAll(spool, { ...chosen, ...steps, progress }),
          ),
        );
        await tell(spool, chosen, results);
      });
    },
  });
}

const namedArguments = {
  ids: { several: true, describe: 'Ids of messages, or their Exim ids' },
} as const;

function choosingOptions(verb: Verb) {
  return { all: { flag: true, describe: ALL[verb] }, ...filterOptions } as const;
}

const forceOption = {
  flag: true,
  describe: 'Even if the proxy may have forgotten that the message was sent',
} as const;

/** What an operator wants done; `isFiltered`: the messages were chosen by a filter. */
interface Chosen extends Operation {
  all: boolean;
  isFiltered: boolean;
}

/** What the arguments say. Throws CommandError 64 unless they choose messages in one way. */
function chosenBy(
  verb: Verb,
  argv: Words<typeof namedArguments> &
    Values<ReturnType<typeof choosingOptions>> & { force?: boolean },
): Chosen {
  const { ids: names, all, force = false } = argv;
  const filter = filterOf(argv, Date.now());
  const ways = [names.length > 0, all, filter !== undefined];
  if (ways.filter((given) => given).length !== 1) {
    throw new CommandError(
      exitCodes.usage,
      'choose messages in one way: by ids, by --all, or by --sender, --recipient, --older-than and --state',
    );
  }
  return { verb, names, all, filter: filter ?? {}, isFiltered: filter !== undefined, force };
}

/** Prints what was done. Throws CommandError for what was not. */
async function tell(spool: Spool, chosen: Chosen, results: Results): Promise<void> {
  if (chosen.isFiltered && results.size === 0) throw new CommandError(exitCodes.no, NONE_MATCHES);
  await print(doneText(chosen, results));
  for (const { results: about, exitCode, unlessAll, text } of complaints) {
    const found = about.flatMap((result) => results.get(result) ?? []);
    if (found.length === 0 || (unlessAll && chosen.all)) continue;
    const count = found.reduce((sum, each) => sum + each.count, 0);
    const ids = found.flatMap((each) => each.ids);
    throw new CommandError(exitCode, text({ spool, verb: chosen.verb, count, ids, results }));
  }
}

/** Such as `deleted 1 message for 3 recipients`: those that were sent, or had gone before, are not among them. */
function doneText({ verb, filter }: Chosen, results: Results): string {
  const { count = 0, recipients = 0 } = results.get('done') ?? {};
  const messages = `${DONE[verb]} ${countOf(count, 'message')}`;
  if (count === 0) return messages;
  const text = `${messages} for ${countOf(recipients, 'recipient')}`;
  const isWider = filter.recipient !== undefined && recipients > count;
  return isWider ? `${text} (--recipient chooses messages, with all their recipients)` : text;
}

/** Messages for which a verb was not done. */
interface NotDone {
  spool: Spool;
  verb: Verb;
  count: number;
  /** Of the first of them. */
  ids: readonly string[];
  results: Results;
}

/** What is told of them: of several complaints the first. With --all nobody has named them, and some are no matter. */
const complaints: readonly {
  results: readonly Result[];
  exitCode: ExitCode;
  unlessAll?: true;
  text: (notDone: NotDone) => string;
}[] = [
  {
    results: ['busy'],
    exitCode: exitCodes.busy,
    text: ({ count }) =>
      `${countOf(count, 'message')} being sent, or given to Exim, for more than ` +
      `${limits.operatorWaitMs / 1000} s; try again later`,
  },
  {
    results: ['exported'],
    exitCode: exitCodes.no,
    text: ({ count, ids: [id] }) =>
      `${countOf(count, 'message')} in a file of \`queue export\`, and another queue may have them: confirm the export, ` +
      `or take it back; \`queue explain ${id}\` names the file`,
  },
  {
    results: ['kept', 'part'],
    exitCode: exitCodes.busy,
    text: ({ ids: [id], results }) => {
      const [kept, part] = [results.get('kept')?.count ?? 0, results.get('part')?.count ?? 0];
      const left = [
        ...(kept > 0 ? [`did not take ${countOf(kept, 'message')}`] : []),
        ...(part > 0 ? [`refused recipients of ${countOf(part, 'message')}`] : []),
      ];
      return (
        `Exim ${left.join(', and ')}; what it did not take is held here. ` +
        `\`queue explain ${id}\` says why; then return again, or release`
      );
    },
  },
  {
    results: ['needs-force'],
    exitCode: exitCodes.no,
    text: ({ count }) =>
      `${countOf(count, 'message')} first posted more than ${showDuration(limits.renewalMs)} ago: the proxy may have ` +
      'forgotten that it sent them, and would send them twice; use --force if you are sure',
  },
  {
    results: ['missing'],
    exitCode: exitCodes.no,
    unlessAll: true,
    text: ({ count, ids }) => {
      const more = count > ids.length ? ` and ${count - ids.length} more` : '';
      return `there is no message ${ids.join(', ')}${more}`;
    },
  },
  {
    results: ['wrong-state'],
    exitCode: exitCodes.no,
    unlessAll: true,
    text: ({ spool, verb, count, ids }) => {
      const states = ids.map((id) => stateOf(spool, id)).join('; ');
      return `${countOf(count, 'message')} not in a state to ${verb}, which is for messages that are ${FITS[verb]}: ${states}`;
    },
  },
];

function stateOf(spool: Spool, id: string): string {
  const [message] = findMessages(spool, id, spool.now());
  if (!message) return `${id} is gone`;
  const { seq, state } = message;
  const failed = state === 'failed' || state === 'bounced';
  return `${id} is ${state}${failed && !hasBody(spool, seq) ? ', and its body has been removed' : ''}`;
}

const FAILED = 'failed or bounced and have their body';

const DONE: Record<Verb, string> = {
  retry: 'retried',
  hold: 'held',
  release: 'released',
  bounce: 'bounced',
  delete: 'deleted',
  return: 'returned',
};

/** The states that a verb is for; what is being sent is waited for. */
const FITS: Record<Verb, string> = {
  retry: `queued, or ${FAILED}`,
  hold: 'queued',
  release: 'held',
  bounce: 'queued or held',
  delete: 'queued, held, failed or bounced',
  return: `queued or held, or ${FAILED}`,
};

const ALL: Record<Verb, string> = {
  retry: 'All messages that are queued or failed',
  hold: 'All messages that are queued',
  release: 'All messages that are held',
  bounce: 'All messages that are queued or held',
  delete: 'All messages that are queued, held or failed',
  return: 'All messages that are queued or held',
};
