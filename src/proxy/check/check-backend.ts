import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { connectSocket } from '../../host/net/connect-socket.ts';
import { hostPortText } from '../../host/net/host-port.ts';
import { fault, note, ok, type Finding } from '../../host/finding.ts';
import type { ApiHost } from '../backends/appengine/call-api.ts';
import { ehloName } from '../backends/smtp/ehlo-name.ts';
import type { SmtpRelay } from '../backends/smtp/smtp-sessions.ts';
import { backendText, keptText, type ChosenBackend } from '../backends/chosen-backend.ts';
import { checkProvider } from './check-provider.ts';
import { checkRelay } from './check-relay.ts';

/** Checks whether the backend can be reached and used, as far as possible without sending, and whether mail leaves this machine. */
export async function* checkBackend(chosen: ChosenBackend): AsyncGenerator<Finding> {
  if (chosen.kind === 'file') yield checkFolder(chosen.folder);
  const kept = keptText(chosen);
  if (kept !== undefined) yield note('backend', kept, SEND_ON);
  else yield ok('backend', `mail leaves this machine: ${backendText(chosen)}`);
  if (chosen.kind === 'appengine') yield checkApi(chosen.api);
  if (chosen.kind === 'smtp') yield* checkSmtp(chosen.relay);
  yield* checkApiOfProvider(chosen);
}

/** The modules are loaded only where they are used. */
async function* checkApiOfProvider(chosen: ChosenBackend): AsyncGenerator<Finding> {
  if (chosen.kind === 'ses') {
    const { checkSes } = await import('../backends/ses/check-ses.ts');
    yield* checkProvider(chosen.account.endpoint, async () => checkSes(chosen.account));
  }
  if (chosen.kind === 'mailgun') {
    const { checkMailgun } = await import('../backends/mailgun/check-mailgun.ts');
    yield* checkProvider(chosen.account.url, async () => checkMailgun(chosen.account));
  }
  if (chosen.kind === 'jmap') {
    const { checkJmap } = await import('../backends/jmap/check-jmap.ts');
    yield* checkProvider(chosen.account.url, async () => checkJmap(chosen.account));
  }
}

async function* checkSmtp(relay: SmtpRelay): AsyncGenerator<Finding> {
  const { name, fault: nameless } = await ehloName(relay.name);
  if (nameless) yield fault('names', nameless.text, nameless.todo);
  else yield ok('names', `the proxy calls itself ${name} at the relay`);
  yield* await checkRelay({ ...relay, name });
}

function checkFolder(folder: string): Finding {
  const isThere = existsSync(folder);
  try {
    accessSync(isThere ? folder : dirname(folder), constants.W_OK | constants.X_OK);
  } catch (error) {
    const text = `cannot deliver into ${folder}: ${(error as Error).message}`;
    return fault('folder', text, OWNED);
  }
  return ok('folder', isThere ? `${folder} can be written` : `the proxy makes ${folder}`);
}

/** A call needs the ticket of a request, so only the connection is checked. */
async function checkApi(api: ApiHost): Promise<Finding> {
  const where = `App Engine's API host ${hostPortText(api)}`;
  try {
    const socket = await connectSocket(api, new AbortController().signal);
    socket.destroy();
  } catch (error) {
    const text = `${where} cannot be reached: ${(error as Error).message}`;
    return fault('connection', text, APP_ENGINE);
  }
  const text = `${where} can be reached; whether it takes mail shows with the first message`;
  return ok('connection', text);
}

const SEND_ON =
  'to have mail sent on, set APPENGINE_MAILER_BACKEND=smtp and APPENGINE_MAILER_SMTP_HOST in ' +
  '/etc/default/appengine-mailer-proxy, then systemctl restart appengine-mailer-proxy';
const OWNED = 'see that it is a folder (--dir) and belongs to the account of the proxy';
const APP_ENGINE =
  'run the proxy on App Engine, with app_engine_apis in app.yaml, or choose another backend';
