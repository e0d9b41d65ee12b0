import { fault, note, ok, type Finding } from '../../../host/finding.ts';
import { thisMachine } from '../../../host/machine.ts';
import { jsonOf } from '../provider/json-of.ts';
import { SesApi } from './ses-api.ts';
import type { SesAccount } from './ses-options.ts';
import { sesError } from './ses-outcome.ts';

/** Checks by GetAccount whether Amazon SES takes our keys, and lets us send. Rejects when there is no answer. */
export async function checkSes(account: SesAccount): Promise<Finding> {
  const answer = await new SesApi(account, thisMachine).getAccount();
  if (answer.status === 200) return accountFinding(jsonOf(answer.body));
  const { status, type, text } = sesError(answer);
  const said = `Amazon SES answered ${status} ${type}: ${text}`;
  // It is told only to those whose signature was right.
  if (type.startsWith('AccessDenied'))
    return note('login', `it takes the keys; ${said}`, MAY_NOT_LOOK);
  return fault('login', said, KEYS);
}

function accountFinding(account: Record<string, unknown>): Finding {
  const { SendingEnabled: enabled, ProductionAccessEnabled: inProduction } = account;
  if (enabled === false) return fault('login', 'it takes the keys; sending is paused', PAUSED);
  if (inProduction !== false) return ok('login', 'it takes the keys, and the account may send');
  return note('login', 'it takes the keys; the account is in the sandbox', SANDBOX);
}

const KEYS =
  'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in /etc/envdir right, or give this machine a role; see also --ses-region, and the clock';
const PAUSED = 'see the SES console, Account dashboard';
const SANDBOX =
  'ask for production access in the SES console; until then mail goes to verified addresses alone';
const MAY_NOT_LOOK =
  'nothing, if mail goes out; with ses:GetAccount this check says whether the account may send';
