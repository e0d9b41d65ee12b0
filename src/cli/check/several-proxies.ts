import { note, ok, type Finding } from '../../host/finding.ts';
import type { Connection } from '../../wire/connection.ts';

/**
 * What was found about each of the proxies, in their order: with its URL where there are several, and then whether they
 * share a ledger.
 */
export function severalProxies(
  connections: readonly Connection[],
  findings: readonly Finding[][],
): Finding[] {
  const [only] = findings;
  if (findings.length === 1 && only) return only;
  const named = connections.flatMap(({ url }, place) =>
    (findings[place] ?? []).map((each) => ({ ...each, text: withUrl(url.href, each.text) })),
  );
  return [...named, ledgers(connections)];
}

function withUrl(url: string, text: string): string {
  return text.startsWith(url) ? text : `${url}: ${text}`;
}

/** A message whose answer was lost goes on only with a proxy that has the ledger of the first post. */
function ledgers(connections: readonly Connection[]): Finding {
  const shown = connections.map(({ ledger }) => ledger);
  const known = shown.filter((ledger) => typeof ledger === 'string');
  const isShared = known.length === shown.length && new Set(known).size === 1;
  if (isShared)
    return ok('ledger', 'the proxies share one ledger: each can go on where another one stopped');
  if (known.length < shown.length) return note('ledger', UNKNOWN, SEE_LEDGER);
  return note('ledger', OWN, SEE_LEDGER);
}

const WAITS = 'a message whose answer was lost waits for the proxy that was posted it';
const UNKNOWN = `not every proxy has told which ledger it has: ${WAITS}, unless another one has the same ledger`;
const OWN = `the proxies have ledgers of their own: ${WAITS}`;
const SEE_LEDGER = 'to have them share one, in PostgreSQL: appengine-mailer-proxy(8), --ledger';
