import type { CommandModule } from 'yargs';
import { countOf } from '../../host/count-of.ts';
import { showDuration } from '../../host/duration.ts';
import { environmentOptions } from '../../host/environment-options.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { limits } from '../../limits.ts';
import { hasBody } from '../../spool/body.ts';
import { findMessages, type Filter } from '../../spool/list.ts';
import type { Verb } from '../../spool/operate.ts';
import type { Spool } from '../../spool/spool.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';
import { filterOf, filterOptions, NONE_FITS, type FilterArguments } from './filter.ts';
import { EximRunner } from './exim-runner.ts';
import { eximOption, giveBack } from './give-back.ts';
import { operateAll, type Results } from './operate-all.ts';
import { serveExim } from './serve-exim.ts';

interface Arguments extends FilterArguments {
  ids: string[];
  all: boolean;
  force?: boolean;
  exim?: string;
  byOwner?: boolean;
  spool: string;
}

/** `appengine-mailer queue retry|hold|release|bounce|delete|return ID…|--all`, or with a filter. */
export const operateCommands: CommandModule<object, Arguments>[] = [
  operateCommand(
    'retry',
    'Send now, with a new lifetime; also what failed, even if its sender was told, while it has its body',
  ),
  operateCommand('hold', 'Keep from being sent until it is released'),
  operateCommand('release', 'Send what was held, with a new lifetime'),
  operateCommand('bounce', 'Fail what is not sent yet; its sender gets a report'),
  operateCommand('delete', 'Remove without sending and without a report, for all recipients'),
  operateCommand('return', 'Give back to Exim with its envelope, and remove when Exim has it'),
];

function operateCommand(verb: Verb, describe: string): CommandModule<object, Arguments> {
  return {
    command: `${verb} [ids..]`,
    describe,
    builder: (yargs) => {
      const common = yargs
        .positional('ids', {
          type: 'string',
          array: true,
          default: [],
          describe: 'Ids of messages, or their Exim ids',
        })
        .option('all', { type: 'boolean', default: false, describe: ALL[verb] })
        .options({ ...filterOptions, ...environmentOptions({ spool: spoolOption }) })
        .check(({ ids, all, ...filter }) => {
          const ways = [ids.length > 0, all, filterOf(filter, 0) !== undefined];
          if (ways.filter((given) => given).length === 1) return true;
          throw new CommandError(
            exitCodes.usage,
            'say which messages: name ids, or say --all, or one or more of --sender, --recipient, --older-than and --state',
          );
        });
      // The same object goes on.
      if (verb === 'retry' || verb === 'release') common.option('force', forceOption);
      if (verb === 'return') {
        common.options(environmentOptions({ exim: eximOption })).option('by-owner', byOwnerOption);
      }
      return common;
    },
    handler: async ({
      ids: names,
      all,
      force = false,
      exim: program,
      byOwner,
      spool: folder,
      ...chosen
    }) => {
      if (program !== undefined && byOwner !== true) await serveExim(program, folder);
      const filter = filterOf(chosen, Date.now());
      const exim = program === undefined ? undefined : new EximRunner(program);
      await withSpool(folder, 'operator', async (spool) => {
        const operation = { verb, names, filter: filter ?? {}, force };
        const results =
          exim === undefined
            ? await operateAll(spool, operation)
            : await giveBack(spool, exim, (steps) => operateAll(spool, { ...operation, ...steps }));
        if (filter && results.size === 0) throw new CommandError(exitCodes.no, NONE_FITS);
        await print(doneText(verb, results, filter));
        await report(spool, verb, results, all);
      });
    },
  };
}

/** Such as `deleted 1 message for 3 recipients`: those that were sent, or had gone before, are not among them. */
function doneText(verb: Verb, results: Results, filter: Filter | undefined): string {
  const { count = 0, recipients = 0 } = results.get('done') ?? {};
  const messages = `${DONE[verb]} ${countOf(count, 'message')}`;
  if (count === 0) return messages;
  const text = `${messages} for ${countOf(recipients, 'recipient')}`;
  const isWider = filter?.recipient !== undefined && recipients > count;
  return isWider ? `${text} (--recipient chooses messages, with all their recipients)` : text;
}

async function report(spool: Spool, verb: Verb, results: Results, all: boolean): Promise<void> {
  const count = (result: string) => results.get(result as 'done')?.count ?? 0;
  if (count('busy') > 0) {
    throw new CommandError(
      exitCodes.busy,
      `${count('busy')} being sent, or given to Exim, for more than ${limits.operatorWaitMs / 1000} s; try again later`,
    );
  }
  if (count('exported') > 0) {
    const [id = ''] = results.get('exported')?.ids ?? [];
    throw new CommandError(
      exitCodes.no,
      `${count('exported')} are in a file of \`queue export\`, and another queue may have them: confirm the export, or ` +
        `take it back; \`queue explain ${id}\` names the file`,
    );
  }
  const left = count('kept') > 0 ? [`did not take ${count('kept')}`] : [];
  if (count('part') > 0) left.push(`refused recipients of ${count('part')}`);
  if (left.length > 0) {
    const [id = ''] = (results.get('kept') ?? results.get('part'))?.ids ?? [];
    throw new CommandError(
      exitCodes.busy,
      `Exim ${left.join(', and ')}, which stay here and are held; \`queue explain ${id}\` ` +
        'says why; then return again, or release',
    );
  }
  if (count('needs-force') > 0) {
    throw new CommandError(
      exitCodes.no,
      `${count('needs-force')} first posted more than ${showDuration(limits.renewalMs)} ago: the proxy may have forgotten that it sent ` +
        'them, and would send them twice; say --force if you are sure',
    );
  }
  if (all) return;
  if (count('missing') > 0) {
    const ids = results.get('missing')?.ids ?? [];
    const more = count('missing') - ids.length;
    const named = `${ids.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
    throw new CommandError(exitCodes.no, `there is no message ${named}`);
  }
  if (count('wrong-state') > 0) {
    const states = (results.get('wrong-state')?.ids ?? [])
      .map((id) => stateOf(spool, id))
      .join('; ');
    throw new CommandError(
      exitCodes.no,
      `${count('wrong-state')} not in a state to ${verb}, which is for what is ${FITS[verb]}: ${states}`,
    );
  }
}

function stateOf(spool: Spool, id: string): string {
  const [message] = findMessages(spool, id, spool.now());
  if (!message) return `${id} is gone`;
  const { seq, state } = message;
  const failed = state === 'failed' || state === 'bounced';
  return `${id} is ${state}${failed && !hasBody(spool, seq) ? ' and has no body any more' : ''}`;
}

/** What serveExim adds. */
const byOwnerOption = { type: 'boolean', hidden: true } as const;

const forceOption = {
  type: 'boolean',
  default: false,
  describe: 'Even when the proxy may have forgotten that it was sent',
} as const;

const FAILED = 'failed or bounced and has its body';

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
  retry: 'All that is queued or failed',
  hold: 'All that is queued',
  release: 'All that is held',
  bounce: 'All that is queued or held',
  delete: 'All that is queued, held or failed',
  return: 'All that is queued or held',
};
