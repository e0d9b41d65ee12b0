import type { Deliverer } from './deliverer.ts';
import type { Keyring } from './keyring.ts';
import type { RateLimit } from './rate-limit.ts';

/** What is needed to answer a post, of either version. */
export interface Service {
  keys: Keyring;
  deliverer: Deliverer;
  rate?: RateLimit | undefined;
  /** What hosts are told for their administrators, in the answer to a probe. */
  note?: string | undefined;
}
