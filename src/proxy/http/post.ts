import type { IncomingHttpHeaders } from 'node:http';
import type { Backend } from '../backends/backend.ts';
import type { Deliverer } from '../deliverer.ts';
import type { Keyring } from '../policy/keyring.ts';
import type { RateLimit } from '../policy/rate-limit.ts';
import type { RequestBody } from './request-bodies.ts';

/** A post of either version, with its whole body. */
export interface Post {
  headers: IncomingHttpHeaders;
  /** The address of the client, for people; see clientAddress. */
  client: string;
  /**
   * When the headers were read, by the wall clock in milliseconds: a large body on a slow line may take longer than
   * clocks may differ.
   */
  arrivedAt: number;
  body: RequestBody;
}

/** What is needed to answer a post, of either version. */
export interface Service {
  keys: Keyring;
  deliverer: Deliverer;
  /** The id of the ledger that answers tell. */
  ledgerId?: string;
  rate?: RateLimit | undefined;
  /** Every sender that is not allowed is replaced, as if each message asked for it. */
  fixSender?: boolean;
  /** What the answer to a probe tells the administrators of hosts. */
  note?: string | undefined;
  /** That of the backend, if it has one. */
  withinRequest?: Backend['withinRequest'];
}
