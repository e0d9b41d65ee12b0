import { setTimeout as sleep } from 'node:timers/promises';
import { fault, ok, type Finding } from '../../host/finding.ts';
import { showDuration } from '../../host/duration.ts';
import { limits } from '../../limits.ts';
import { endpointRecord } from '../../spool/endpoint.ts';
import { findMessages, type Listed } from '../../spool/list.ts';
import { localTime } from '../../host/local-time.ts';
import { shownTime } from '../../sqlite/shown-time.ts';
import type { Spool } from '../../spool/spool.ts';
import { explain } from '../queue/explanation.ts';
import { factsOf } from '../queue/explain.ts';

/**
 * Follows a message of one recipient, which Exim took under this id: into the spool, to the proxy, and to the verdict, for
 * limits.checkSendMs at most. Each finding is given when it is known; after a fault nothing follows.
 */
export async function* followMessage(spool: Spool, eximId: string): AsyncGenerator<Finding> {
  const until = performance.now() + limits.checkSendMs;
  const look = () => findMessages(spool, eximId, spool.now())[0];

  const queued = await waitFor(look, until);
  if (!queued) {
    const text = `Exim has not handed ${eximId} to the queue within ${showDuration(limits.checkSendMs)}`;
    yield fault('queued', text, SEE_EXIM.replace('ID', eximId));
    return;
  }
  yield ok('queued', `it is in the spool as ${queued.id}`);

  const wasAsked = endpointRecord(spool).asksAt;
  const isStuck = ({ lastStatus }: Listed) => {
    const { downSince, asksAt } = endpointRecord(spool);
    return lastStatus !== null || (downSince !== null && asksAt !== wasAsked);
  };
  const posted = await waitFor(() => lookFor((each) => isLeft(each) || isStuck(each)), until);
  if (posted && isLeft(posted)) yield ok('posted', 'drain posts it to the proxy');

  await waitFor(() => lookFor((each) => isOver(each) || (!isLeft(each) && isStuck(each))), until);
  yield verdict(spool, look() ?? queued);

  function lookFor(fits: (message: Listed) => boolean): Listed | undefined {
    const message = look();
    return message && fits(message) ? message : undefined;
  }
}

function verdict(spool: Spool, message: Listed): Finding {
  const { id, recipients } = message;
  const [{ address, state, status, reason } = NOBODY] = recipients;
  const explainIt = `appengine-mailer queue explain ${id}`;
  if (state === 'sent') {
    return ok('verdict', `the proxy says that <${address}> was sent (${status} ${reason})`);
  }
  if (state === 'failed' || state === 'bounced') {
    const text = `the proxy says that <${address}> is refused for good: ${status} ${reason}`;
    return fault('verdict', text, `set right what it names; ${explainIt} tells the whole story`);
  }
  const { why, next } = explain(factsOf(spool, message, shownTime(spool, Date.now())), localTime);
  const text = `the message is not sent: ${why}. Next: ${next}`;
  return fault(
    'verdict',
    text,
    `set right what it names, and what appengine-mailer check finds; ${explainIt} tells what comes of the message, which stays in the queue`,
  );
}

function isLeft({ state }: Listed): boolean {
  return state !== 'queued';
}

function isOver({ state }: Listed): boolean {
  return state !== 'queued' && state !== 'sending';
}

/** What `look` finds, as soon as it finds something; undefined when that is not so until then (monotonic). */
async function waitFor<T>(look: () => T | undefined, until: number): Promise<T | undefined> {
  for (;;) {
    const found = look();
    if (found !== undefined || performance.now() >= until) return found;
    await sleep(limits.checkLookMs);
  }
}

const NOBODY = { address: '', state: 'pending', status: null, reason: null };
const SEE_EXIM =
  'exim4 -bt ADDRESS tells whether Exim sends this address through the queue, exim4 -Mvl ID what became of the message, and exim4 -bp what waits';
