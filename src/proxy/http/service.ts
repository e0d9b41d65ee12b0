import type { Deliverer } from '../deliverer.ts';
import type { Keyring } from '../policy/keyring.ts';
import type { RateLimit } from '../policy/rate-limit.ts';

/** What is needed to answer a post, of either version. */
export interface Service {
  keys: Keyring;
  deliverer: Deliverer;
  rate?: RateLimit | undefined;
  /** Every message asks for the default sender where its own may not send. */
  fixSender?: boolean;
  /** What hosts are told for their administrators, in the answer to a probe. */
  note?: string | undefined;
}
