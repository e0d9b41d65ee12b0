import { addressList } from '../mail/address-list.ts';
import { statusClass } from '../mail/enhanced-status.ts';
import { printable } from '../mail/printable.ts';

/** A recipient that was not sent. */
export interface NotSent {
  recipient: string;
  /** An enhanced status (RFC 3463); undefined when the proxy gave none, as when it is unreachable. */
  status: string | undefined;
  reason: string;
  /** The proxy is still sending it, and it may arrive. */
  inProgress?: boolean;
}

/** A message was not sent, or not to everybody. `message` says it on one line of printable characters. */
export class MessageSendingFailure extends Error {
  override readonly name = 'MessageSendingFailure';
  /** With `reason`, the status of the first recipient that may be tried again, or else of the first. */
  readonly status: string | undefined;
  readonly reason: string;
  /** Whether it is refused for good; otherwise it may be sent later. */
  readonly permanent: boolean;
  readonly notSent: readonly NotSent[];
  /** Those that it was sent to all the same: another try is for the others alone. */
  readonly sent: readonly string[];

  constructor(notSent: readonly NotSent[], sent: readonly string[] = []) {
    const passing = notSent.find(({ status }) => !isPermanent(status));
    const told = passing ?? notSent[0];
    super(printable(sentence(notSent, sent)));
    this.status = told?.status;
    this.reason = told?.reason ?? '';
    this.permanent = passing === undefined;
    this.notSent = notSent;
    this.sent = sent;
  }
}

function isPermanent(status: string | undefined): boolean {
  return status !== undefined && statusClass(status) === 'failed';
}

/** Names everybody, and each reason once. */
function sentence(notSent: readonly NotSent[], sent: readonly string[]): string {
  const groups = new Map<string, NotSent[]>();
  for (const each of notSent) {
    const key = `${whatOf(each)} ${whyOf(each)}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  const parts = [...groups.values()].map((group) => {
    const [first] = group;
    const recipients = group.map(({ recipient }) => recipient);
    return first ? `${whatOf(first)}${to(recipients)}: ${whyOf(first)}` : '';
  });
  return [...parts, ...(sent.length > 0 ? [`sent${to(sent)}`] : [])].join('; ');
}

function whatOf({ inProgress }: NotSent): string {
  return inProgress ? 'still being sent' : 'not sent';
}

function whyOf({ status, reason }: NotSent): string {
  return status === undefined ? reason : `${status} ${reason}`;
}

function to(recipients: readonly string[]): string {
  const named = recipients.filter((each) => each !== '');
  return named.length === 0 ? '' : ` to ${addressList(named)}`;
}
