import type { Diagnosis } from '../wire/diagnose.ts';
import type { DrainJournal } from './drain-journal.ts';
import type { Endpoint } from './endpoint.ts';

/** The endpoint failed, so many times in a row, and is left alone for a while. */
export interface EndpointFailure {
  meaning: Diagnosis;
  failures: number;
  waitMs: number;
}

/** Tells the journal that the endpoint is down while `queued` messages wait, and what a person has to do. */
export function announceDown(
  journal: DrainJournal,
  endpoint: Endpoint,
  { meaning: { text, remedy, unanswered }, failures, waitMs }: EndpointFailure,
  { url, queued, everPassed }: { url: string; queued: number; everPassed: boolean },
): void {
  const hint = unanswered && !everPassed ? NEVER_PASSED : '';
  journal.endpointDown(url, { text: text + hint, failures, waitMs, queued });
  if (remedy !== undefined && endpoint.tellFault(remedy, performance.now())) {
    journal.operatorFault(text, remedy);
  }
}

const NEVER_PASSED =
  ' (no post has ever passed: is GMAIL_PROXY_URL right, and does the proxy run?)';
