import type { Keyring } from './keyring.ts';
import type { RateLimit } from './rate-limit.ts';
import type { Relay } from './relay.ts';

/** What is needed to answer a post, of either version. */
export interface Service {
  keys: Keyring;
  relay: Relay;
  rate?: RateLimit | undefined;
}
