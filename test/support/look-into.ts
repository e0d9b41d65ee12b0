import { listMessages, type Listed } from '../../src/spool/list.ts';
import { messageStates, Spool } from '../../src/spool/spool.ts';
import { stats, type Counters } from '../../src/spool/stats.ts';

/** What a spool holds: all messages, whatever their state, and the counters, which must add up. */
export function lookInto(folder: string): { messages: Listed[]; counters: Counters } {
  const spool = new Spool(folder, 'operator');
  try {
    const messages = [...listMessages(spool, { states: messageStates }, Date.now())];
    const { counters } = stats(spool);
    const sum = messageStates.reduce((sum, state) => sum + counters[state], counters.damaged);
    if (sum !== counters.accepted) throw new Error(`law 8 is broken: ${JSON.stringify(counters)}`);
    return { messages, counters };
  } finally {
    spool.close();
  }
}
