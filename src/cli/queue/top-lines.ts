import { showDuration } from '../../host/duration.ts';
import { localTime } from '../../host/local-time.ts';
import { showBytes } from '../../host/show-bytes.ts';
import { addressText } from '../../mail/address-list.ts';
import { cut } from '../../mail/cut.ts';
import { printable } from '../../mail/printable.ts';
import type { MessageInFlight, QueueEvent, QueueLook } from '../../watch/queue-watch.ts';
import type { Eta, Rates } from '../../watch/rates.ts';

/** How messages in flight are sorted. */
export type TopOrder = 'age' | 'size' | 'attempts';

/** The lines of `queue top`, each at most so wide. `wallNow` is in milliseconds since 1970. */
export function topLines(
  look: QueueLook,
  {
    width,
    rows,
    order,
    wallNow,
  }: { width: number; rows: number; order: TopOrder; wallNow: number },
): string[] {
  const { view, now, minutes, eta, inFlight, events } = look;
  const count = (state: string) => view.figures.get('messages', state);
  const oldest = view.oldestQueuedAt;
  const states = ['queued', 'sending', 'held', 'failed'].map((state) => `${count(state)} ${state}`);
  const lines = [
    `${states.join(', ')}; oldest: ${oldest === null ? 'none' : showDuration(wallNow - oldest)}`,
    `now: ${ratesText(now)}; last minutes: ${ratesText(minutes)}`,
    etaText(eta, look),
    endpointText(look, wallNow),
    '',
    `in flight: ${inFlight.length}, by ${order}`,
  ];
  const room = Math.max(2, rows - lines.length - events.length - 4);
  const shown = inFlight.toSorted(ORDERS[order]).slice(0, room);
  const more = inFlight.length - shown.length;
  lines.push(...shown.map((message) => inFlightText(message, wallNow)));
  if (more > 0) lines.push(`  and ${more} more`);
  lines.push('', 'last events:', ...events.map(eventText));
  return lines.map((line) => cut(printable(line), width));
}

const ORDERS: Record<TopOrder, (one: MessageInFlight, two: MessageInFlight) => number> = {
  age: (one, two) => one.queuedAt - two.queuedAt,
  size: (one, two) => two.size - one.size,
  attempts: (one, two) => two.attempts - one.attempts,
};

function ratesText(rates: Rates | undefined): string {
  if (!rates) return 'not known yet';
  return `${rates.in.toFixed(1)} in, ${rates.out.toFixed(1)} out a second`;
}

function etaText(eta: Eta, { view, minutes }: QueueLook): string {
  if (eta.kind === 'empty') return 'the queue is empty';
  if (!view.drainRuns) return 'drain does not run: nothing leaves the queue';
  if (view.endpoint.downSince !== null) return 'the queue waits for the proxy';
  if (eta.kind === 'in') return `the queue will be empty in about ${showDuration(eta.ms)}`;
  return minutes
    ? 'as it goes now, the queue will not be empty'
    : 'when it will be empty is not known yet';
}

function endpointText({ view: { endpoint } }: QueueLook, wallNow: number): string {
  const { downSince, reason, passedAt } = endpoint;
  if (downSince !== null) {
    return `proxy: down for ${showDuration(wallNow - downSince)}: ${reason ?? ''}`;
  }
  const passed = passedAt === null ? 'never' : `${showDuration(wallNow - passedAt)} ago`;
  return `proxy: up; last post that passed: ${passed}`;
}

function inFlightText(message: MessageInFlight, wallNow: number): string {
  const { id, size, attempts, queuedAt, address, recipients } = message;
  const more = recipients > 1 ? ` and ${recipients - 1} more` : '';
  const facts = [
    id.slice(-12),
    showDuration(wallNow - queuedAt).padStart(7),
    showBytes(size).padStart(9),
    `attempt ${attempts + 1}`,
  ];
  return `  ${facts.join('  ')}  ${addressText(address)}${more}`;
}

function eventText({ id, state, at, status, reason }: QueueEvent): string {
  const word = state === 'queued' ? 'deferred' : state;
  return `  ${localTime(at).slice(11, 19)}  ${id.slice(-12)}  ${word.padEnd(8)} ${status ?? ''} ${reason ?? ''}`;
}
