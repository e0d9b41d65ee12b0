import { listMessages, type Listed } from '../../src/spool/list.ts';
import { messageStates, Spool } from '../../src/spool/spool.ts';
import { stats, type Stats } from '../../src/spool/stats.ts';

/** What a spool holds: its stats, whose counters must add up, and all messages, whatever their state. */
export function lookInto(folder: string): Stats & { messages: Listed[] } {
  const spool = new Spool(folder, 'operator');
  try {
    const messages = [...listMessages(spool, { states: messageStates }, Date.now())];
    const all = stats(spool);
    const { counters } = all;
    const sum = messageStates.reduce((sum, state) => sum + counters[state], counters.damaged);
    if (sum !== counters.accepted) throw new Error(`law 8 is broken: ${JSON.stringify(counters)}`);
    return { ...all, messages };
  } finally {
    spool.close();
  }
}
