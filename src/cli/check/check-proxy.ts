import { TLSSocket } from 'node:tls';
import { systemClock } from '../../host/clock.ts';
import { showDuration } from '../../host/duration.ts';
import { openChannel } from '../../host/net/open-channel.ts';
import { limits } from '../../limits.ts';
import { attempt, type PostResult, type PostFailure } from '../../wire/attempt.ts';
import { isLoopback } from '../../host/net/is-loopback.ts';
import type { Connection } from '../../wire/connection.ts';
import { exchange, type NoResponse, type Response } from '../../wire/exchange.ts';
import { diagnose } from '../../wire/diagnose.ts';
import type { Wire } from '../../wire/post-once.ts';
import { probe } from '../../wire/probe.ts';
import { fault, note, notChecked, ok, type Finding } from '../../host/finding.ts';

/**
 * Whether the proxy answers, and takes what is signed with our key: by a GET, which every version of the
 * interface knows, and the probe of v2. Nothing is sent. Without a key of ours the signature is left out.
 */
export async function checkProxy(
  connection: Connection,
  wire: Wire,
  hasKey: boolean,
): Promise<Finding[]> {
  const stop = new AbortController().signal;
  const response = await exchange(connection, { method: 'GET', length: 0 }, stop);
  if (response.kind !== 'response') return unreached(trouble('proxy', response));
  const known = [reachable(connection, response), await certificate(connection, stop)];
  const unprobed = hasKey ? NO_PROBE[wire] : 'it takes the key';
  if (unprobed !== undefined) {
    return [...known, notChecked('signature', unprobed), clock(response)];
  }
  const answer = await attempt(connection, probe(systemClock), stop);
  if (answer.kind !== 'clock') return [...known, signature(answer), clock(response)];
  const again = await attempt(connection, probe(systemClock), stop);
  return [...known, signature(again), clockFinding(connection.clockOffsetMs)];
}

/** Why the signature cannot be probed. */
const NO_PROBE: Partial<Record<Wire, string>> = { v1: 'a v1 server knows no probe' };

/** The proxy's fault, and what cannot be checked because of it. */
export function unreached(proxy: Finding): Finding[] {
  const others = ['certificate', 'signature', 'clock'];
  return [proxy, ...others.map((check) => notChecked(check, 'the proxy is not reached'))];
}

function reachable({ url }: Connection, { status }: Response): Finding {
  if (status === 200) return ok('proxy', `${url.href} answers`);
  return trouble('proxy', { kind: 'http', status, text: '', retryAfterMs: undefined });
}

function signature(answer: PostResult): Finding {
  if (answer.kind !== 'verdicts') return trouble('signature', answer);
  const text = 'the proxy takes our key, and has it too';
  if (answer.note === undefined) return ok('signature', text);
  return note('signature', `${text}, and says of its own machine: ${answer.note}`, SEE_BACKEND);
}

const SEE_BACKEND =
  'to have mail sent on, set another backend where the proxy runs: appengine-mailer-proxy check';

/** The Date of an answer is exact to a second, and not signed: enough to find a clock that is off. */
function clock({ headers }: Response): Finding {
  const date = Date.parse(String(headers['date']));
  if (Number.isNaN(date)) return notChecked('clock', 'the proxy does not tell its time');
  return clockFinding(date - Date.now());
}

function clockFinding(offsetMs: number): Finding {
  const difference = `differs from the proxy's by ${showDuration(Math.abs(offsetMs))}`;
  if (Math.abs(offsetMs) <= limits.toleranceMs) return ok('clock', difference);
  return fault(
    'clock',
    `this clock ${difference}`,
    'set the clocks of both machines right (timedatectl)',
  );
}

function trouble(check: string, answer: PostFailure | NoResponse): Finding {
  const { text, remedy } = diagnose(answer);
  const see =
    answer.kind === 'network'
      ? 'see whether the proxy runs and its port can be reached from here'
      : 'see the journal of the proxy, where it runs: journalctl -t appengine-mailer';
  return fault(check, text, remedy ?? see);
}

/** How long the certificate is still valid. Whether it is to be trusted was seen when the proxy answered. */
async function certificate({ pool, url }: Connection, stop: AbortSignal): Promise<Finding> {
  let socket;
  try {
    socket = await openChannel(pool.route, [stop]);
    if (!(socket instanceof TLSSocket)) {
      return ok('certificate', withoutTls(url));
    }
    const { valid_from: from, valid_to: to } = socket.getPeerCertificate();
    const leftMs = Date.parse(to) - Date.now();
    const left = `valid for ${showDuration(leftMs)}`;
    const lifeMs = Date.parse(to) - Date.parse(from);
    const leastMs = Math.min(limits.checkCertificateMs, lifeMs * limits.checkCertificateShare);
    if (leftMs > leastMs) return ok('certificate', left);
    return fault('certificate', `only ${left}`, 'have it renewed where the proxy runs');
  } catch (error) {
    return notChecked('certificate', (error as Error).message);
  } finally {
    socket?.destroy();
  }
}

/** Why no certificate is looked for. */
function withoutTls(url: URL): string {
  if (url.protocol === 'http+unix:') return 'none is needed for a Unix socket of this machine';
  if (isLoopback(url.hostname)) return 'none is needed for http: on this machine';
  return `there is none: --allow-insecure lets mail go to ${url.hostname} by http:, and anybody on the way can read it`;
}
