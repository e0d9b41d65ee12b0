/** What a status says of a recipient: its first digit (RFC 3463 2). */
export type StatusClass = 'sent' | 'deferred' | 'failed';

/** The class of an enhanced status such as `5.1.1`; undefined when it is not one (RFC 3463 2). */
export function statusClass(status: string): StatusClass | undefined {
  if (!ENHANCED_STATUS.test(status)) return undefined;
  return status.startsWith('2') ? 'sent' : status.startsWith('4') ? 'deferred' : 'failed';
}

/** The same status in the class of those that may pass, such as 4.1.1 of 5.1.1. */
export function asDeferred(status: string): string {
  return `4${status.slice(1)}`;
}

/**
 * The status under which a recipient is counted. A server can make up a million statuses: those that are in no registry of
 * RFC 5248 count as X.0.0, so that the figures stay few.
 */
export function countedStatus(status: string): string {
  const [, first, subject, detail] = /^([245])\.(\d{1,3})\.(\d{1,3})$/.exec(status) ?? [];
  const isUsual = Number(subject) <= SUBJECT_MAX && Number(detail) <= DETAIL_MAX;
  return isUsual ? status : `${first ?? '4'}.0.0`;
}

/** No registered status has a higher subject or detail. */
const [SUBJECT_MAX, DETAIL_MAX] = [7, 40];

const ENHANCED_STATUS = /^[245]\.\d{1,3}\.\d{1,3}$/;

/** The statuses that this project gives itself (RFC 3463, RFC 5248). */
export const statuses = {
  /** Taken by the backend. */
  sent: '2.0.0',
  /** The backend is still sending it. */
  inProgress: '4.4.0',
  /** The proxy asks for fewer posts (RFC 3463 3.5: congestion). */
  slower: '4.4.5',
  /** The backend's answer never came: it may have taken the message. */
  unknown: '4.4.2',
  /** The proxy or the message cannot be dealt with at present. */
  trouble: '4.3.0',
  /** The spool has lost a part of it: it is set aside. */
  damaged: '4.6.0',
  /** The proxy cannot be reached. */
  unreached: '4.4.1',
  /** More recipients than one post may have. */
  surplus: '4.5.3',
  /** More recipients than a message may have. */
  tooManyRecipients: '5.5.3',
  /** The recipient's address is not one. */
  badRecipient: '5.1.3',
  /** The sender's address is not one. */
  badSender: '5.1.7',
  /** The message is larger than may be sent, or than the relay takes. */
  tooLarge: '5.3.4',
  /** The address is not ASCII, and the relay takes no other. */
  noSmtpUtf8: '5.6.7',
  /** The sender may not use this proxy. */
  senderRefused: '5.7.1',
  /** An operator decided that it is not delivered (X.7.1: delivery not authorized, message refused). */
  cancelled: '5.7.1',
  /** Too old. */
  expired: '5.4.7',
  /** The message is not such as can be sent. */
  badContent: '5.6.0',
} as const;
