import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import type { Origins } from '../../host/options.ts';
import { fault, faultOfAll, notChecked, ok, type Finding } from '../../host/finding.ts';
import { secretFaults } from '../../host/key-faults.ts';
import { chooseBackend } from '../backends/chosen-backend.ts';
import {
  BACKEND_SECRETS,
  becomeOwnerWithSecrets,
  senderRules,
  type ProxyOptions,
} from '../command.ts';
import { readKeys } from '../policy/keyring.ts';
import { sendersText } from '../policy/senders-text.ts';
import { checkBackend } from './check-backend.ts';
import { checkKeys } from './check-keys.ts';
import { ledgerPlace, SERVICE_FOLDER } from '../ledger/ledger-place.ts';
import { checkLedger } from './check-ledger.ts';

/**
 * Checks whether the proxy can work with these options, in the order of its start; nothing is sent. Root is given up first
 * (law 14).
 */
export async function* checkProxy(argv: ProxyOptions, origins: Origins): AsyncGenerator<Finding> {
  const isShared = ledgerPlace(argv.ledger).kind === 'postgres';
  if (isShared || !origins.has('ledger')) enterServiceFolder(argv.ledger);
  const place = ledgerPlace(argv.ledger);
  await becomeOwnerWithSecrets(place);
  yield await found('keys', () => checkKeys(argv.keysFile));
  const unsafe = faultOfAll('secrets', secretFaults(BACKEND_SECRETS));
  if (unsafe) yield unsafe;
  yield await found('senders', () =>
    ok('senders', sendersText(senderRules(argv, origins), readKeys(argv.keysFile).keys)),
  );
  yield* checkLedger(place);
  const chosen = await found('backend', async () =>
    chooseBackend(argv, origins, resolve(argv.dir)),
  );
  if ('check' in chosen) yield chosen;
  else yield* checkBackend(chosen);
}

/** Enters the working directory of the service, unless there is a ledger here. */
function enterServiceFolder(ledger: string): void {
  if (existsSync(ledger) || !existsSync(SERVICE_FOLDER)) return;
  try {
    process.chdir(SERVICE_FOLDER);
  } catch (error) {
    throw new CommandError(
      exitCodes.notPermitted,
      `only root and the account of the proxy may look into ${SERVICE_FOLDER}: ${(error as Error).message}`,
    );
  }
}

/** The result of `look`, or the finding for the CommandError that it throws. */
async function found<T>(check: string, look: () => T | Promise<T>): Promise<T | Finding> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const { message } = error;
    if (message.includes('EACCES')) return notChecked(check, `only root can look (${message})`);
    return fault(check, message, REMEDY);
  }
}

const REMEDY =
  'set that right in /etc/envdir or /etc/default/appengine-mailer-proxy, then systemctl restart appengine-mailer-proxy';
