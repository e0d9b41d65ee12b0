import { statuses } from '../../../mail/enhanced-status.ts';
import { limits } from '../../../limits.ts';
import type { ApiAnswer } from './call-api.ts';

/** The meaning of an answer of the Mail API for the message. */
export type MailOutcome =
  | { kind: 'sent' }
  /** Not sent: the Mail API takes no mail at present. */
  | { kind: 'unavailable'; reason: string; retryAfterMs?: number }
  /** It may have been sent. */
  | { kind: 'unknown'; reason: string }
  /** Not sent, for now or for good, as the status says. */
  | { kind: 'refused'; status: string; reason: string; forItsSender?: boolean };

/** The meaning of an answer to mail.Send. Unknown errors are temporary. */
export function mailOutcome(answer: ApiAnswer): MailOutcome {
  if (answer.kind === 'response') return { kind: 'sent' };
  if (answer.kind === 'exception') {
    return { kind: 'refused', status: statuses.trouble, reason: "App Engine's API host failed" };
  }
  const { code } = answer;
  if (answer.kind === 'http') {
    const reason = `App Engine's API host answered HTTP ${code}`;
    // Only this message is the cause.
    if (code === 413) return { kind: 'refused', status: statuses.trouble, reason };
    // A gateway in between may have passed the call on.
    const isGateway = code === 502 || code === 504;
    return { kind: isGateway ? 'unknown' : 'unavailable', reason };
  }
  const [name = `${answer.kind} ${code}`, effect = 'deferred'] =
    (answer.kind === 'rpc error' ? RPC_ERRORS : APPLICATION_ERRORS)[code] ?? [];
  const detail = answer.detail.slice(0, limits.reasonChars - name.length - 32);
  return EFFECTS[effect](`the Mail API answered ${name}${detail && `: ${detail}`}`);
}

/** The possible effects of an error. */
const EFFECTS = {
  deferred: (reason) => ({ kind: 'refused', status: statuses.trouble, reason }),
  failed: (reason) => ({ kind: 'refused', status: statuses.badContent, reason }),
  tooLarge: (reason) => ({ kind: 'refused', status: statuses.tooLarge, reason }),
  sender: (reason) => ({
    kind: 'refused',
    status: statuses.senderRefused,
    reason,
    forItsSender: true,
  }),
  unavailable: (reason) => ({ kind: 'unavailable', reason }),
  quota: (reason) => ({
    kind: 'unavailable',
    reason,
    retryAfterMs: limits.appengineQuotaRetryAfterMs,
  }),
  unknown: (reason) => ({ kind: 'unknown', reason }),
} satisfies Record<string, (reason: string) => MailOutcome>;

type Rows = Partial<Record<number, readonly [name: string, effect: keyof typeof EFFECTS]>>;

/** MailServiceError.ErrorCode of mail_service.proto. */
const APPLICATION_ERRORS: Rows = {
  1: ['INTERNAL_ERROR', 'deferred'],
  2: ['BAD_REQUEST', 'failed'],
  3: ['UNAUTHORIZED_SENDER', 'sender'],
  4: ['INVALID_ATTACHMENT_TYPE', 'failed'],
  5: ['INVALID_HEADER_NAME', 'failed'],
  6: ['INVALID_CONTENT_ID', 'failed'],
};

/** RpcError.ErrorCode of remote_api.proto. */
const RPC_ERRORS: Rows = {
  0: ['UNKNOWN', 'deferred'],
  1: ['CALL_NOT_FOUND', 'unavailable'],
  2: ['PARSE_ERROR', 'failed'],
  3: ['SECURITY_VIOLATION', 'unavailable'],
  4: ['OVER_QUOTA', 'quota'],
  5: ['REQUEST_TOO_LARGE', 'tooLarge'],
  6: ['CAPABILITY_DISABLED', 'unavailable'],
  7: ['FEATURE_DISABLED', 'unavailable'],
  8: ['BAD_REQUEST', 'failed'],
  9: ['RESPONSE_TOO_LARGE', 'unknown'],
  10: ['CANCELLED', 'unknown'],
  11: ['REPLAY_ERROR', 'deferred'],
  12: ['DEADLINE_EXCEEDED', 'unknown'],
};
