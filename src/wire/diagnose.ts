import type { PostFailure } from './attempt.ts';
import { CLOSED_AFTER_GREETING } from './exchange.ts';

/** Whether, since the attempt began, other messages passed, at least a probe did, or nothing. */
export type HealthSince = 'posts' | 'probe' | 'nothing';

/** What an answer without verdicts means (law 5). */
export interface Diagnosis {
  /** For the journal and the operator: what happened. */
  text: string;
  /**
   * When the message itself is to blame, and not the endpoint: never, when other posts pass, already
   * when a probe passes, or always.
   */
  messageWhen: 'never' | 'posts pass' | 'a probe passes' | 'always';
  /** What the operator has to do; undefined when time may fix it. */
  remedy?: string;
  /** No server has answered anything. */
  unanswered?: true;
  /** What the server asked for. */
  retryAfterMs?: number | undefined;
  /** The message may have been sent: only a person can know whether to post it again. */
  maybeSent?: true;
}

/** Who has to wait: the whole queue, or this message alone. */
export function faultScope(
  { messageWhen }: Diagnosis,
  passing: HealthSince,
): 'endpoint' | 'message' {
  if (messageWhen === 'always') return 'message';
  if (messageWhen === 'never' || passing === 'nothing') return 'endpoint';
  return messageWhen === 'a probe passes' || passing === 'posts' ? 'message' : 'endpoint';
}

/**
 * What an answer without verdicts means. Nothing here ends a message: all of it is trouble that is
 * waited for. What is unknown counts as trouble of the endpoint, unless others pass.
 */
export function diagnose(answer: PostFailure): Diagnosis {
  switch (answer.kind) {
    case 'clock':
      return {
        text: "the proxy finds the clock wrong although its own time was used: its clock or this host's jumps",
        messageWhen: 'never',
        remedy: 'set the clocks of both machines right (timedatectl)',
      };
    case 'slower':
      return {
        text: `the proxy asks for fewer posts${answer.text && `: ${answer.text}`}`,
        messageWhen: 'never',
        retryAfterMs: answer.retryAfterMs,
      };
    case 'aborted':
      return { text: 'the attempt was given up because this program stops', messageWhen: 'never' };
    case 'unusable':
      return answer.signed
        ? { text: answer.fault, messageWhen: 'a probe passes' }
        : {
            text: `the proxy answered 200, but ${answer.fault}`,
            messageWhen: 'never',
            remedy:
              'check that GMAIL_PROXY_URL is the proxy itself and not another web server, a login page or a cache in between',
          };
    case 'maybe sent':
      return {
        text:
          `the server answered ${answer.status} to the post for <${answer.recipient}>, and not 204: ` +
          'it may have sent the message or not',
        messageWhen: 'never',
        remedy:
          `if this server answers ${answer.status} when it has sent, set --v1-success ${answer.status}; ` +
          'else check that GMAIL_PROXY_URL is an appengine-mailer proxy, and --wire what it speaks',
        maybeSent: true,
      };
    case 'not greeted':
      // What is said before a message is sent is never about that message.
      return { ...diagnose(answer.trouble), messageWhen: 'never' };
    case 'unreadable':
      return { text: `the message cannot be posted: ${answer.text}`, messageWhen: 'always' };
    case 'http':
      return httpMeaning(answer);
    case 'network':
      return networkMeaning(answer);
  }
}

type Http = Extract<PostFailure, { kind: 'http' }>;

function httpMeaning({ status, text, retryAfterMs }: Http): Diagnosis {
  const cause = HTTP_CAUSES[status];
  const said =
    `the proxy answered ${status}${text === '' ? '' : ` ${JSON.stringify(text)}`}` +
    (cause === undefined ? '' : ` (${cause})`);
  // In HTTP v1 a wrong key is a 400 like many others.
  const isWrongKey = status === 400 && text.startsWith("Signature doesn't match");
  const remedy = HTTP_REMEDIES[isWrongKey ? 401 : status];
  if (remedy !== undefined) {
    // A filter before the proxy may dislike one message; then 403 is about that message.
    return { text: said, messageWhen: status === 403 ? 'posts pass' : 'never', remedy };
  }
  if (status >= 300 && status < 400) {
    return {
      text: `${said}, a redirect, which is not followed`,
      messageWhen: 'never',
      remedy: 'set GMAIL_PROXY_URL to the final address of the proxy',
    };
  }
  if (status < 300) {
    return {
      text: said,
      messageWhen: 'never',
      remedy: 'check that GMAIL_PROXY_URL is an appengine-mailer proxy, and --wire what it speaks',
    };
  }
  // Asked to wait, the queue waits, even for a server that answers a probe: its relay may be down.
  if (status === 429) return { text: said, messageWhen: 'never', retryAfterMs };
  if (status === 503) return { text: said, messageWhen: 'posts pass', retryAfterMs };
  if (status >= 500 || OF_ONE_MESSAGE.has(status)) {
    return { text: said, messageWhen: 'a probe passes', retryAfterMs, ...ALL_REFUSED[status] };
  }
  return { text: said, messageWhen: 'posts pass', retryAfterMs };
}

const HTTP_REMEDIES: Partial<Record<number, string>> = {
  401: 'check that GMAIL_SECRET_KEY is one of the keys of the proxy, then restart what uses it',
  403: 'ask who runs the proxy, or a firewall before it, to let this host in',
  404: 'check the path of GMAIL_PROXY_URL',
  405: 'check that GMAIL_PROXY_URL is the proxy: that server takes no posts',
  407: 'check the user and password in https_proxy',
  410: 'check GMAIL_PROXY_URL: that server says that the proxy is gone for good',
};

/** What is behind an answer that its number alone does not tell to everybody. */
const HTTP_CAUSES: Partial<Record<number, string>> = {
  413: 'too large for the proxy or the web server before it, as client_max_body_size of nginx says',
  502: 'a web server answers, and the proxy behind it does not run',
  504: 'a web server answers, and the proxy behind it does not, or is slower than the web server waits',
};

/** Bad request, time-out of the upload, conflict of ids, too large. */
const OF_ONE_MESSAGE = new Set([400, 408, 409, 413]);

/** What to do where such an answer is not about one message, but is given to all. */
const ALL_REFUSED: Partial<Record<number, { remedy: string }>> = {
  400: {
    remedy:
      'check that GMAIL_PROXY_URL is an appengine-mailer proxy, with https: where its port speaks TLS; a server of 2012 needs --wire v1',
  },
  502: { remedy: 'start the proxy on its machine: systemctl status appengine-mailer-proxy' },
};

type Network = Extract<PostFailure, { kind: 'network' }>;

function networkMeaning({ stage, webProxy, code, text }: Network): Diagnosis {
  const said = text.includes(code) ? text : `${text} (${code})`;
  if (webProxy !== undefined) {
    const what = code.startsWith('HTTP_') ? 'lets nothing through' : 'cannot be used';
    return {
      text: `the server of ${webProxy} ${what}: ${said}`,
      messageWhen: 'never',
      remedy: `check the address, user and password in ${webProxy}, whether that server works and whom it lets through; no_proxy names hosts that need none`,
    };
  }
  if (code === 'EAI_AGAIN' || code === 'EAI_FAIL') {
    return {
      text: `the proxy's name cannot be looked up: ${said}`,
      messageWhen: 'never',
      remedy:
        'see whether this machine reaches its name server: /etc/resolv.conf, resolvectl status',
    };
  }
  if (code === CLOSED_AFTER_GREETING) {
    return {
      text: `without TLS, mail is posted only over a connection on which the proxy has answered a probe: ${text}`,
      messageWhen: 'never',
      remedy:
        'see whether the proxy is being stopped; else have what is between this host and the proxy keep connections open, or use https:',
    };
  }
  if (code === 'ENOTFOUND') {
    return {
      text: `the proxy's name is unknown: ${said}`,
      messageWhen: 'never',
      remedy: 'check the host name in GMAIL_PROXY_URL and the DNS of this machine',
    };
  }
  if (NOT_TLS.has(code)) {
    return {
      text: `the port of the proxy does not speak TLS: ${said}`,
      messageWhen: 'never',
      remedy: 'check GMAIL_PROXY_URL: its port, and whether http: is meant instead of https:',
    };
  }
  if (TLS.test(code)) {
    return {
      text: `no trusted TLS connection to the proxy: ${said}`,
      messageWhen: 'never',
      remedy:
        "check the proxy's certificate, its name and dates, this machine's clock, and --ca-file for a private authority",
    };
  }
  if (code === 'UND_ERR_INVALID_ARG' || code === 'ERR_INVALID_URL') {
    return {
      text: `the proxy cannot be addressed: ${said}`,
      messageWhen: 'never',
      remedy: 'check GMAIL_PROXY_URL and https_proxy',
    };
  }
  if (stage === 'connecting') {
    const text = `the proxy cannot be reached: ${said}`;
    return { text, messageWhen: 'never', unanswered: true };
  }
  // The connection broke, or the answer was slow, endless, garbled or cut off: it may be this message.
  return { text: `the post to the proxy failed: ${said}`, messageWhen: 'a probe passes' };
}

/** Codes of OpenSSL's verification and of Node's TLS; see node:tls and x509_verify_cert_error(3). */
const TLS =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERROR_IN_CERT_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|EPROTO)/;

/** What OpenSSL says of bytes that are no TLS. */
const NOT_TLS = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
]);
