import { addressText } from '../../mail/address-list.ts';
import { limits } from '../../limits.ts';

/** What was saved of a damaged spool, and what was not. */
export interface Saved {
  damaged: Damaged[];
  /** How many messages are lost, by law 8's counters; of some nothing may be left but that they were counted. */
  lost: number;
  /** What else was lost or made up for, in a sentence each. */
  notes: string[];
}

/** A message of which too little is left, with what can still be said of it. */
export interface Damaged {
  id: string | undefined;
  eximId: string | undefined;
  sender: string | undefined;
  recipients: string[];
  fault: string;
}

/** What a repair of a spool has to tell; the last sentence sums it up. `kept` is the damaged file. */
export function repairSentences(
  folder: string,
  faults: readonly string[],
  kept: string,
  { damaged, lost, notes }: Saved,
): string[] {
  const unnamed = lost - damaged.length;
  const all = [
    ...faults,
    ...notes,
    ...damaged.flatMap(named),
    ...(unnamed > 0 ? [`lost without a trace but their number: ${unnamed} messages`] : []),
    `the spool ${folder} was damaged and is repaired; ${lost} messages are lost; the damaged file is ${kept}`,
  ];
  return [...new Set(all)];
}

/** A sentence; of many recipients several, since nothing else names them. */
function named({ id, eximId, sender, recipients, fault }: Damaged): string[] {
  const from = sender === undefined ? '' : ` from ${addressText(sender)}`;
  const name = `${id ?? 'of an unknown id'} (Exim's ${eximId ?? 'is unknown'})`;
  const sentences: string[] = [];
  for (let at = 0; at === 0 || at < recipients.length; at += limits.namedLost) {
    const some = recipients.slice(at, at + limits.namedLost).map(addressText);
    const to = some.length === 0 ? '' : ` to ${some.join(', ')}`;
    sentences.push(`lost: message ${name}${from}${to}: ${fault}`);
  }
  return sentences;
}
