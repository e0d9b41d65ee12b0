import type { PostFailure } from './attempt.ts';
import { CLOSED_AFTER_PROBE } from './exchange.ts';

/** What a post that brought no verdicts means (law 5). */
export interface Diagnosis {
  /** What happened, for the journal and the operator. */
  text: string;
  /** Where the fault is, as far as the failure alone can tell; see resolveScope. */
  scope: FaultScope;
  /** What the operator has to do; undefined when time may fix it. */
  remedy?: string;
  /** No server has answered anything. */
  unanswered?: true;
  /** How long the server asked to wait. */
  retryAfterMs?: number | undefined;
  /** The message may have been sent: only a person can know whether to post it again. */
  maybeSent?: true;
}

/** Some failures are the fault of the message only if other posts pass meanwhile, or if a probe passes. */
export type FaultScope =
  'endpoint' | 'message' | 'message-if-posts-pass' | 'message-if-probe-passes';

/** What has passed since the post began: posts of other messages, at least a probe, or nothing. */
export type HealthSince = 'posts' | 'probe' | 'nothing';

/** Says what has to wait: the whole queue for the endpoint, or this message alone. */
export function resolveScope(scope: FaultScope, health: HealthSince): 'endpoint' | 'message' {
  return RESOLVED[scope][health];
}

const RESOLVED = {
  endpoint: { nothing: 'endpoint', probe: 'endpoint', posts: 'endpoint' },
  'message-if-posts-pass': { nothing: 'endpoint', probe: 'endpoint', posts: 'message' },
  'message-if-probe-passes': { nothing: 'endpoint', probe: 'message', posts: 'message' },
  message: { nothing: 'message', probe: 'message', posts: 'message' },
} as const;

/**
 * Tells what a failed post means. Nothing here fails a recipient: all of it is trouble, which is waited for.
 * A failure that is not in the tables is trouble of the endpoint unless other posts pass.
 */
export function diagnose(failure: PostFailure): Diagnosis {
  const diagnoseKind = BY_KIND[failure.kind] as (failure: PostFailure) => Diagnosis;
  return diagnoseKind(failure);
}

type Failure<Kind extends PostFailure['kind']> = Extract<PostFailure, { kind: Kind }>;

const BY_KIND: { [Kind in PostFailure['kind']]: (failure: Failure<Kind>) => Diagnosis } = {
  clock: () => ({
    text: "the proxy finds the clock wrong although its own time was used: its clock or this host's jumps",
    scope: 'endpoint',
    remedy: 'set the clocks of both machines right (timedatectl)',
  }),
  slower: ({ text, retryAfterMs }) => ({
    text: `the proxy asks for fewer posts${text && `: ${text}`}`,
    scope: 'endpoint',
    retryAfterMs,
  }),
  aborted: () => ({
    text: 'the attempt was given up because this program stops',
    scope: 'endpoint',
  }),
  'invalid-response': ({ signed, fault }) =>
    signed
      ? { text: fault, scope: 'message-if-probe-passes' }
      : {
          text: `the proxy answered 200, but ${fault}`,
          scope: 'endpoint',
          remedy:
            'check that GMAIL_PROXY_URL is the proxy itself and not another web server, a login page or a cache in between',
        },
  'other-ledger': () => ({
    text: 'the proxy has another ledger than the one that the message was posted to',
    scope: 'endpoint',
  }),
  'maybe-sent': ({ text, remedy }) => ({ text, scope: 'endpoint', remedy, maybeSent: true }),
  // The answer to a probe that goes before a message is never about that message.
  'probe-failed': ({ failure }) => ({ ...diagnose(failure), scope: 'endpoint' }),
  unreadable: ({ text }) => ({ text: `the message cannot be posted: ${text}`, scope: 'message' }),
  http: diagnoseStatus,
  network: diagnoseNetwork,
};

/** What an HTTP status means that is not 200. */
interface StatusRow {
  scope: FaultScope;
  /** What the number alone does not tell everybody; it follows what the proxy answered. */
  note?: string;
  remedy?: string;
  /** Only a person can end it, so that a Retry-After says nothing. */
  forPerson?: true;
}

function diagnoseStatus({ status, text, retryAfterMs, wrongKey }: Failure<'http'>): Diagnosis {
  const { note = '', scope, remedy, forPerson } = statusRow(wrongKey ? 401 : status);
  return {
    text: `the proxy answered ${status}${text === '' ? '' : ` ${JSON.stringify(text)}`}${note}`,
    scope,
    ...(remedy !== undefined && { remedy }),
    ...(!forPerson && { retryAfterMs }),
  };
}

function statusRow(status: number): StatusRow {
  const row = STATUSES[status];
  if (row) return row;
  if (status < 300) return NO_PROXY;
  if (status < 400) return REDIRECT;
  return status < 500 ? { scope: 'message-if-posts-pass' } : { scope: 'message-if-probe-passes' };
}

const NO_PROXY: StatusRow = {
  scope: 'endpoint',
  remedy: 'check that GMAIL_PROXY_URL is an appengine-mailer proxy, and --wire what it speaks',
  forPerson: true,
};

const REDIRECT: StatusRow = {
  scope: 'endpoint',
  note: ', a redirect, which is not followed',
  remedy: 'set GMAIL_PROXY_URL to the final address of the proxy',
  forPerson: true,
};

const STATUSES: Partial<Record<number, StatusRow>> = {
  400: {
    scope: 'message-if-probe-passes',
    remedy:
      'check that GMAIL_PROXY_URL is an appengine-mailer proxy, with https: where its port speaks TLS; a v1 server needs --wire v1',
  },
  401: {
    scope: 'endpoint',
    remedy:
      'check that GMAIL_SECRET_KEY is one of the keys of the proxy; a service has to be restarted after a change of its key',
    forPerson: true,
  },
  403: {
    // A filter before the proxy may refuse one message.
    scope: 'message-if-posts-pass',
    remedy: 'ask who runs the proxy, or a firewall before it, to let this host in',
    forPerson: true,
  },
  404: { scope: 'endpoint', remedy: 'check the path of GMAIL_PROXY_URL', forPerson: true },
  405: {
    scope: 'endpoint',
    remedy: 'check that GMAIL_PROXY_URL is the proxy: that server takes no posts',
    forPerson: true,
  },
  407: {
    scope: 'endpoint',
    remedy: 'check the user and password in https_proxy',
    forPerson: true,
  },
  // The upload took too long.
  408: { scope: 'message-if-probe-passes' },
  // The id was used for another message.
  409: { scope: 'message-if-probe-passes' },
  410: {
    scope: 'endpoint',
    remedy: 'check GMAIL_PROXY_URL: that server says that the proxy is gone for good',
    forPerson: true,
  },
  413: {
    scope: 'message-if-probe-passes',
    note: ' (too large for the proxy or the web server before it, as client_max_body_size of nginx says)',
  },
  429: { scope: 'endpoint' },
  502: {
    scope: 'message-if-probe-passes',
    note: ' (a web server answers, and the proxy behind it does not run)',
    remedy: 'start the proxy on its machine: systemctl status appengine-mailer-proxy',
  },
  // The queue waits although a probe is answered: the relay of the proxy may be down.
  503: { scope: 'message-if-posts-pass' },
  504: {
    scope: 'message-if-probe-passes',
    note: ' (a web server answers, and the proxy behind it does not, or is slower than the web server waits)',
  },
};

function diagnoseNetwork({ stage, webProxy, code, text }: Failure<'network'>): Diagnosis {
  const said = text.includes(code) || code === CLOSED_AFTER_PROBE ? text : `${text} (${code})`;
  if (webProxy !== undefined) {
    const what = code.startsWith('HTTP_') ? 'lets nothing through' : 'cannot be used';
    return {
      text: `the server of ${webProxy} ${what}: ${said}`,
      scope: 'endpoint',
      remedy: `check the address, user and password in ${webProxy}, whether that server works and whom it lets through; no_proxy names hosts that need none`,
    };
  }
  const row = NETWORK_CODES.find(({ codes }) => codes.test(code));
  if (row) return { text: `${row.what}: ${said}`, scope: 'endpoint', remedy: row.remedy };
  if (stage === 'connecting') {
    return { text: `the proxy cannot be reached: ${said}`, scope: 'endpoint', unanswered: true };
  }
  // The connection broke, or the answer was slow, endless, garbled or cut off: it may be this message.
  return { text: `the post to the proxy failed: ${said}`, scope: 'message-if-probe-passes' };
}

/** Codes of Node, undici and OpenSSL that an operator can do something about; the first row that fits counts. */
const NETWORK_CODES: { codes: RegExp; what: string; remedy: string }[] = [
  {
    codes: /^EAI_(?:AGAIN|FAIL)$/,
    what: "the proxy's name cannot be looked up",
    remedy: 'see whether this machine reaches its name server: /etc/resolv.conf, resolvectl status',
  },
  {
    codes: new RegExp(`^${CLOSED_AFTER_PROBE}$`),
    what: 'without TLS, mail is posted only over a connection on which the proxy has answered a probe',
    remedy:
      'see whether the proxy is being stopped; else have what is between this host and the proxy keep connections open, or use https:',
  },
  {
    codes: /^ENOTFOUND$/,
    what: "the proxy's name is unknown",
    remedy: 'check the host name in GMAIL_PROXY_URL and the DNS of this machine',
  },
  {
    // What OpenSSL says about bytes that are not TLS.
    codes: /^ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST)$/,
    what: 'the port of the proxy does not speak TLS',
    remedy: 'check GMAIL_PROXY_URL: its port, and whether http: is meant instead of https:',
  },
  {
    // OpenSSL's verification and Node's TLS; see node:tls and x509_verify_cert_error(3).
    codes:
      /^(?:ERR_TLS_|ERR_SSL_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERROR_IN_CERT_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|EPROTO)/,
    what: 'no trusted TLS connection to the proxy',
    remedy:
      "check the proxy's certificate, its name and dates, this machine's clock, and --ca-file for a private authority",
  },
  {
    codes: /^(?:UND_ERR_INVALID_ARG|ERR_INVALID_URL)$/,
    what: 'the proxy cannot be addressed',
    remedy: 'check GMAIL_PROXY_URL and https_proxy',
  },
];
