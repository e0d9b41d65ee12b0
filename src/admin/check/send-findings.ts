import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { showDuration } from '../../host/duration.ts';
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
  const said = text(child.stderr);
  for await (const line of createInterface(child.stdout)) yield JSON.parse(line) as Finding;
  const trouble = (await said).trim();
  if (trouble !== '')
    yield fault(
      'queued',
      trouble,
      'run this as root, or as a member of the group appengine-mailer',
    );
}
