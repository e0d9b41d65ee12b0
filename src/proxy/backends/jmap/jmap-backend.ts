import { thisMachine, type Machine } from '../../../host/machine.ts';
import { limits } from '../../../limits.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import {
  BackendThrottledError,
  limited,
  type Backend,
  type Delivery,
  type Result,
} from '../backend.ts';
import { inCrlf } from '../in-crlf.ts';
import { jsonOf } from '../provider/json-of.ts';
import type { JmapAccount } from './jmap-options.ts';
import { JmapServer } from './jmap-server.ts';
import { JmapSessions, type JmapSession } from './jmap-session.ts';
import { JmapSubmission } from './jmap-submission.ts';

/** What is around the backend, besides its account. */
export interface JmapSurroundings {
  /** Stands in for the null sender, where the server does not take it. */
  defaultSender?: string | undefined;
  machine?: Machine;
  /** PEM of the certificate authorities to trust instead of Node's own. */
  ca?: string[];
}

/**
 * Sends by a JMAP server (RFC 8620, RFC 8621): the message is uploaded in CRLF and imported, submitted with the true envelope, and
 * destroyed when it was sent. README.md in this folder has the facts.
 */
export function jmapBackend(
  account: JmapAccount,
  { defaultSender, machine = thisMachine, ca }: JmapSurroundings = {},
): Backend {
  const server = new JmapServer(account, machine, ca);
  const sessions = new JmapSessions(server, account.url);

  async function deliver(delivery: Delivery): Promise<Result[]> {
    const session = await sessions.get();
    try {
      return await deliverIn(session, delivery);
    } catch (error) {
      // The account, its identities or the server may have changed, but not where it only gets too much.
      if (!(error instanceof BackendThrottledError)) sessions.forget();
      throw error;
    }
  }

  async function deliverIn(session: JmapSession, delivery: Delivery): Promise<Result[]> {
    const { recipients } = delivery;
    const message = inCrlf(delivery.bytes);
    const tooLarge = recipients.map((recipient) => ({ recipient, ...TOO_LARGE }));
    if (message.length > session.uploadBytes) return tooLarge;
    const uploaded = await server.upload(session.uploadUrl, message);
    const { blobId, limit } = jsonOf(uploaded.body);
    if (uploaded.status === 413 || limit === 'maxSizeUpload') return tooLarge;
    if (typeof blobId !== 'string' || uploaded.status >= 300) {
      throw server.refusal(uploaded, 'an upload');
    }
    const { sender } = delivery;
    const submission = new JmapSubmission(server, session, { sender, blobId, defaultSender });
    return submission.submit(recipients);
  }

  return limited(limits.jmapDeliveries, deliver);
}

const TOO_LARGE = {
  status: statuses.tooLarge,
  reason: 'the message is larger than the JMAP server takes',
};
