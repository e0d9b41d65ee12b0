import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { showDuration } from '../../host/duration.ts';
import { exitCodes } from '../../host/command-error.ts';
import { fault, type Finding } from '../../host/finding.ts';
import { asOwner, ownerToBecome } from '../../host/give-up-root.ts';
import { withoutSecrets } from '../../host/settings.ts';
import { handIn } from './hand-in.ts';

/**
 * Sends a message through Exim, the queue and the proxy, and tells each station that it reaches, with the time since the
 * beginning. The last finding is `verdict`, and ok, when it was sent.
 */
export async function* sendFindings(address: string, folder: string): AsyncGenerator<Finding> {
  const begun = performance.now();
  for await (const finding of stations(address, folder)) {
    const after = `after ${showDuration(performance.now() - begun)}`;
    yield { ...finding, text: `${finding.text}, ${after}` };
  }
}

async function* stations(address: string, folder: string): AsyncGenerator<Finding> {
  const { finding, eximId } = await handIn(address);
  yield finding;
  if (eximId !== undefined) yield* followed(folder, eximId);
}

/** Another process looks into the spool, as the folder's owner where this is root (law 14). */
async function* followed(folder: string, eximId: string): AsyncGenerator<Finding> {
  const script = [process.argv[1] ?? '', 'check', '--follow', eximId, '--spool', resolve(folder)];
  const [file, ...args] = asOwner(ownerToBecome(folder), script);
  const child = spawn(file, args, {
    env: withoutSecrets(process.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close') as Promise<[code: number | null, signal: string | null]>;
  const [said, end] = [text(child.stderr), ended.catch((error: Error) => error)];
  for await (const line of createInterface(child.stdout)) yield JSON.parse(line) as Finding;
  const how = await end;
  const [code, signal] = how instanceof Error ? [null, how.message] : how;
  // With exitCodes.no it has told a fault.
  if (code === 0 || code === exitCodes.no) return;
  const trouble = (await said).trim() || `the look into the spool ended with ${code ?? signal}`;
  const todo =
    code === exitCodes.notPermitted
      ? 'run this as root, or as a member of the group appengine-mailer'
      : `appengine-mailer queue explain ${eximId} tells what becomes of the message`;
  yield fault('queued', trouble, todo);
}
