import { parseDuration } from '../../host/duration.ts';
import { takes, ValueError } from '../../host/option-values.ts';
import type { OptionTable, Values } from '../../host/options.ts';
import type { Filter } from '../../spool/list.ts';
import { messageStates, type MessageState, type Spool } from '../../spool/spool.ts';
import { messagesIn } from '../../spool/stats.ts';

/** Options that choose messages by what they are: always whole messages, with all their recipients. */
export const filterOptions = {
  state: { choices: [...messageStates, 'all'], describe: 'Only messages in this state' },
  sender: {
    value: 'ADDRESS|@DOMAIN',
    parse: parseAddress,
    describe: 'Only messages from this address or @domain; <> is the null sender',
  },
  recipient: {
    value: 'ADDRESS|@DOMAIN',
    parse: parseAddress,
    describe: 'Only messages to this address or @domain, with all their recipients',
  },
  'older-than': {
    value: 'DURATION',
    parse: parseDuration,
    describe: 'Only messages that were queued longer ago, such as 1h',
  },
} as const satisfies OptionTable;

/** What the options choose; undefined when none of them is given. `wallNow` is in milliseconds since 1970. */
export function filterOf(
  { state, sender, recipient, olderThan }: Values<typeof filterOptions>,
  wallNow: number,
): Filter | undefined {
  if ([state, sender, recipient, olderThan].every((each) => each === undefined)) return undefined;
  return {
    states: state === undefined ? undefined : state === 'all' ? messageStates : [state],
    sender,
    recipient,
    queuedBefore: olderThan === undefined ? undefined : wallNow - olderThan,
  };
}

/** How many messages the filter chooses, by the counters of the spool; undefined where only a scan can tell. */
export function countOfFilter(
  spool: Spool,
  { states, ...others }: Filter,
  usual: readonly MessageState[],
): number | undefined {
  const isByState = Object.values(others).every((each) => each === undefined);
  return isByState ? messagesIn(spool, states ?? usual) : undefined;
}

/** What a command says when no message is as its filter wants. */
export const NONE_MATCHES = 'no message matches the filter';

/**
 * An address may be within < >, as it is printed; <> is the null sender. An address without @ has to be within them: a
 * word without @ is more likely a domain, and as an address it would match nothing. Throws ValueError.
 */
function parseAddress(text: string): string {
  if (text === '') {
    // A variable of a script that is empty by mistake would choose all reports.
    throw new ValueError('got an empty address; the null sender is written <>');
  }
  const within = /^<(.*)>$/s.exec(text)?.[1];
  if (within !== undefined || text.includes('@')) return within ?? text;
  throw takes(
    `an address or @domain, such as name@${text}, @${text}, or <${text}> for an address without @,`,
    text,
  );
}
