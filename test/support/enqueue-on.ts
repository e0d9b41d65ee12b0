import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { enqueue } from '../../src/spool/enqueue.ts';
import { Spool } from '../../src/spool/spool.ts';
import { handOver } from './hand-over.ts';

// A program: puts messages into the spool FOLDER, one after the other, until standard input ends, and notes
// the Exim id of each in NOTES when it is stored. Now and then one is large.

const [folder = '', notes = ''] = process.argv.slice(2);
const spool = new Spool(folder, 'pipe');
process.stdin.resume();
for (let number = 1; !process.stdin.readableEnded; number += 1) {
  const eximId = `enqueued-${number}`;
  const message = `Subject: ${eximId}\n\n${eximId}\n`.repeat(number % 50 === 0 ? 5000 : 20);
  enqueue(spool, handOver({ eximId, message }), spool.now());
  appendFileSync(notes, `${eximId}\n`);
  spool.wakeDrain();
  await sleep(1); // The others would hardly ever find the spool unlocked.
}
spool.close();
