import { listMessages, type Listed } from '../../src/spool/list.ts';
import { shownTime, type ShownTime } from '../../src/sqlite/shown-time.ts';
import { messageStates, Spool } from '../../src/spool/spool.ts';
import { stats, type Stats } from '../../src/spool/stats.ts';
import { asOwner } from './as-owner.ts';

/** What a spool holds: its stats, whose counters must add up, and all messages, whatever their state. */
export function lookInto(folder: string): Look {
  return asOwner(folder, () => look(folder));
}

type Look = Stats & { messages: Listed[]; shown: ShownTime };

function look(folder: string): Look {
  const spool = new Spool(folder, 'operator');
  try {
    const shown = shownTime(spool, Date.now());
    const messages = [...listMessages(spool, { states: messageStates }, shown.now)];
    const all = stats(spool);
    for (const counters of [all.counters, all.bytes]) {
      const sum = messageStates.reduce((total, state) => total + counters[state], counters.damaged);
      if (sum !== counters.accepted) {
        throw new Error(`law 8 is broken: ${JSON.stringify(counters)}`);
      }
    }
    return { ...all, messages, shown };
  } finally {
    spool.close();
  }
}
