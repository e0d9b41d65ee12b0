import type { Progress } from '../host/progress.ts';
import type { SdNotify } from '../host/systemd/sd-notify.ts';
import type { watchSpool } from '../spool/watch-spool.ts';
import type { Spool } from '../spool/spool.ts';
import type { Bundler } from '../wire/bundler.ts';
import type { Connection } from '../wire/connection.ts';
import type { PostOnce } from '../wire/post-once.ts';
import type { DrainJournal } from './drain-journal.ts';
import type { RetryPolicy } from './decide-outcome.ts';
import type { ReportOptions } from './reports/sender-reports.ts';

/** How a proxy is reached. */
export interface ProxyAccess {
  connection: Connection;
  /** Posts a message over the connection. */
  postOnce: PostOnce;
  /** Posts small messages together; undefined where each goes alone. */
  bundler?: Bundler | undefined;
}

/** What a drain works with, and how it works. */
export interface DrainOptions extends RetryPolicy {
  /** Opened by the holder of the spool's drain lock. */
  spool: Spool;
  /** The proxies in the order in which they are used; at least one. */
  proxies: readonly ProxyAccess[];
  journal: DrainJournal;
  notify: SdNotify;
  reports: ReportOptions;
  /** End when nothing is due, or when the endpoint is down. */
  once: boolean;
  /** Finish what is in flight, for limits.stopMs at most, and end. */
  stop: AbortSignal;
  /** Notices what other programs commit; watchSpool when undefined. */
  watch?: typeof watchSpool;
  /** Hears of each message whose attempt has ended. */
  progress?: Progress;
}
