import { showDuration } from '../../host/duration.ts';
import { limits } from '../../limits.ts';
import { shownTime } from '../../sqlite/shown-time.ts';
import type { Spool } from '../../spool/spool.ts';
import { fallbackText } from '../../spool/endpoint.ts';
import { stats } from '../../spool/stats.ts';
import { fault, ok, type Finding } from '../../host/finding.ts';

/** Whether mail goes out: what the spool remembers of the last posts, and of its oldest message. `now`: since 1970. */
export function checkProgress(spool: Spool, now: number): Finding {
  const { oldestQueuedAt, endpoint } = stats(spool);
  const { downSince, reason, passedAt, fallback } = endpoint;
  const passed =
    passedAt === null ? 'nothing was sent yet' : `the last post passed ${ago(passedAt)}`;
  if (downSince !== null) {
    return fault(
      'progress',
      `the proxy has taken no mail for ${showDuration(shownTime(spool, now).now - downSince)}, as drain last found: ${reason}; ${passed}`,
      'fix what the lines above name; if they are ok now, drain finds that out within a minute. Nothing is lost',
    );
  }
  const age = oldestQueuedAt === null ? 0 : now - oldestQueuedAt;
  if (age > limits.checkAgeMs) {
    return fault(
      'progress',
      `the oldest message has waited for ${showDuration(age)}; ${passed}`,
      'appengine-mailer queue tells which it is, and appengine-mailer queue explain ID why it waits',
    );
  }
  return ok('progress', fallback ? `${passed}; ${fallbackText(fallback)}` : passed);

  function ago(time: number): string {
    return `${showDuration(now - time)} ago`;
  }
}
