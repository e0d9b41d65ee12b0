import type { Claimed } from '../spool/claim.ts';
import type { Diagnosis } from '../wire/diagnose.ts';
import type { Verdict } from '../wire/verdicts.ts';

/** What one attempt of a message came to, as facts; decideOutcome makes an outcome of it. */
export interface Attempt {
  message: Claimed;
  verdicts: Verdict[];
  /** Whether a post was answered with verdicts. An answer about an earlier post shows no more than a probe. */
  passed?: boolean;
  /** Why recipients have no verdict; undefined when every one has. */
  trouble?: Trouble;
  /** Whether a proxy may have sent it, at this attempt or before, to recipients that have no verdict. */
  unanswered?: boolean;
  /** The fault in the message's bytes in the spool, if there is one. */
  damage?: string | undefined;
}

/** What ended an attempt early. */
export interface Trouble {
  /**
   * Where the fault is. `pace`: the proxy asks for fewer posts; `ledger`: it has another ledger than was thought; `stop`:
   * this program stops.
   */
  scope: 'endpoint' | 'message' | 'pace' | 'ledger' | 'stop';
  diagnosis: Diagnosis;
}
