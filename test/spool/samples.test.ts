import assert from 'node:assert/strict';
import test from 'node:test';
import { enqueue } from '../../src/spool/enqueue.ts';
import { readSamples, takeSample } from '../../src/spool/samples.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { rings } from '../../src/sqlite/samples.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const MINUTE = 60_000;
const BEGINNING = 30 * 86_400_000;

let number = 0;
function accept(spool: Spool): void {
  number += 1;
  enqueue(spool, handOver({ eximId: `sampled-${number}` }), spool.now());
}

const accepted = (figures: { name: string; label: string; value: number }[]) =>
  figures.find(({ name, label }) => name === 'entered' && label === 'accepted')?.value;

test('a sample is taken where something changed, and the last one of a slot counts', (t) => {
  const spool = freshSpool(t);
  takeSample(spool, BEGINNING, []);
  accept(spool);
  takeSample(spool, BEGINNING + 1000, []);
  takeSample(spool, BEGINNING + MINUTE, []);
  accept(spool);
  takeSample(spool, BEGINNING + 3 * MINUTE, []);
  const first = BEGINNING / MINUTE;
  assert.deepEqual(
    readSamples(spool, 'hour').map(({ slot, at, figures }) => [slot, at, accepted(figures)]),
    [
      [first, BEGINNING + 1000, 1],
      [first + 3, BEGINNING + 3 * MINUTE, 2],
    ],
  );
  assert.equal(readSamples(spool, 'day').length, 1);
});

test('samples are bounded in number, and one from before the time of the ring stays to compare with', (t) => {
  const spool = freshSpool(t);
  for (let minute = 0; minute < 400; minute += 1) {
    accept(spool);
    takeSample(spool, BEGINNING + minute * MINUTE, []);
  }
  const samples = readSamples(spool, 'hour');
  assert.equal(samples.length, rings.hour.slots + 1);
  assert.equal(accepted(samples[0]?.figures ?? []), 340);
  accept(spool);
  takeSample(spool, BEGINNING + 4000 * MINUTE, []);
  assert.deepEqual(
    readSamples(spool, 'hour').map(({ figures }) => accepted(figures)),
    [400, 401],
  );
});

test('samples that are later than now are of a clock that was lost, and go', (t) => {
  const spool = freshSpool(t);
  accept(spool);
  takeSample(spool, BEGINNING + 9 * MINUTE, []);
  accept(spool);
  takeSample(spool, BEGINNING, []);
  assert.deepEqual(
    readSamples(spool, 'hour').map(({ at }) => at),
    [BEGINNING],
  );
});

const present = (value: number) => [{ name: 'certificate_expires', label: 'a', value }];

test('figures that say what is are set, and those that count are added to', (t) => {
  const spool = freshSpool(t);
  takeSample(spool, BEGINNING, present(7));
  takeSample(spool, BEGINNING, present(5));
  const value = spool.sql<{ value: number }>(`SELECT value FROM figure`).get()?.value;
  assert.equal(value, 5);
});
