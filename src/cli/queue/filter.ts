import type { InferredOptionTypes, Options } from 'yargs';
import { parseDuration } from '../../host/duration.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import type { Filter } from '../../spool/list.ts';
import { messageStates } from '../../spool/spool.ts';

/** Options that choose messages by what they are: always whole messages, with all their recipients. */
export const filterOptions = {
  state: {
    type: 'string',
    choices: [...messageStates, 'all'] as const,
    describe: 'Only this state',
  },
  sender: {
    type: 'string',
    describe: 'Only from this address, <> or @domain',
    requiresArg: true,
  },
  recipient: {
    type: 'string',
    describe: 'Only messages to this address or @domain, whoever else they are to',
    requiresArg: true,
  },
  'older-than': {
    type: 'string',
    describe: 'Only queued longer ago, such as 1h',
    requiresArg: true,
  },
} as const satisfies Record<string, Options>;

/** The values of these options, as yargs hands them over. */
export type FilterArguments = Partial<InferredOptionTypes<typeof filterOptions>> & {
  olderThan?: string | undefined;
};

/** What the options choose; undefined when none of them is given. Throws Failure 64. */
export function filterOf(
  { state, sender, recipient, olderThan }: FilterArguments,
  wallNow: number,
): Filter | undefined {
  if ([state, sender, recipient, olderThan].every((each) => each === undefined)) return undefined;
  return {
    states: state === undefined ? undefined : state === 'all' ? messageStates : [state],
    sender: addressOf('sender', sender),
    recipient: addressOf('recipient', recipient),
    queuedBefore: olderThan === undefined ? undefined : wallNow - parseDuration(olderThan),
  };
}

/** What a command says whose filter nothing fits. */
export const NONE_FITS = 'no message fits the filter';

/**
 * An address may be within < >, as it is printed; <> is the null sender. An address without @ has to be within them: who
 * leaves them out means a domain, and would take it for one to which no mail goes.
 */
export function addressOf(option: string, text: string | undefined): string | undefined {
  if (text === '') {
    // A variable of a script that is empty by mistake would choose all reports.
    throw new CommandError(exitCodes.usage, 'an empty address is written <>');
  }
  const within = text && /^<(.*)>$/s.exec(text)?.[1];
  if (within !== undefined || text === undefined || text.includes('@')) return within ?? text;
  throw new CommandError(
    exitCodes.usage,
    `--${option} takes an address or @domain, and ${text} has no @: ` +
      `say name@${text} or @${text}, or <${text}> for an address that has none`,
  );
}
