import { fault, ok, type Finding } from '../../../host/finding.ts';
import { thisMachine } from '../../../host/machine.ts';
import { limits } from '../../../limits.ts';
import { BackendUnavailableError } from '../backend.ts';
import type { JmapAccount } from './jmap-options.ts';
import { JmapServer } from './jmap-server.ts';
import { readJmapSession } from './jmap-session.ts';

/** Checks by the session whether a JMAP server takes our token or password, and lets us send. */
export async function checkJmap(account: JmapAccount): Promise<Finding> {
  try {
    const session = await readJmapSession(new JmapServer(account, thisMachine), account.url);
    const { identities, uploadBytes } = session;
    const named = identities.slice(0, limits.namedSenders).map(({ email }) => email || ANY_SENDER);
    const text = `the account may send as ${named.join(', ')}, messages up to ${uploadBytes} bytes`;
    return ok('login', text);
  } catch (error) {
    if (!(error instanceof BackendUnavailableError)) throw error;
    return fault('login', error.message, REMEDY);
  }
}

/** Cyrus IMAP has one identity, whose address is empty, and takes every sender with it. */
const ANY_SENDER = 'any sender';

const REMEDY =
  'set --jmap-url, and JMAP_TOKEN or --jmap-user and JMAP_PASSWORD, right; the token or password has to allow reading mail and sending';
