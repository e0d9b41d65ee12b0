import { exitCodes, CommandError } from '../../host/command-error.ts';
import { findMessages, type Listed } from '../../spool/list.ts';
import type { Spool } from '../../spool/spool.ts';

/** The messages of an id, or of an Exim id. Throws CommandError 1 when there are none. `now` is observed time. */
export function namedMessages(spool: Spool, id: string, now: number): Listed[] {
  const messages = findMessages(spool, id, now);
  if (messages.length > 0) return messages;
  throw new CommandError(exitCodes.no, `there is no message ${id} in ${spool.folder}`);
}

/** The argument that names them. */
export const idArgument = { describe: 'Id of the message, or its Exim id' } as const;
