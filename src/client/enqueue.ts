import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { spoolFolder, withoutSecrets } from '../host/settings.ts';
import { addressFault } from '../mail/address-fault.ts';
import { statuses } from '../mail/enhanced-status.ts';
import { writeBsmtp } from '../mail/write-bsmtp.ts';
import { MessageSendingFailure } from './message-sending-failure.ts';
import type { Prepared } from './prepare.ts';
import { USE_SENDMAIL } from './use-sendmail.ts';

/**
 * Puts a message into the queue of this host as Exim does, by exim-pipe, under an id of its own. Throws
 * MessageSendingFailure for an address that is not valid, CommandError 75 when exim-pipe does not take it, 77 when
 * this user may not write to the queue, 78 when there is none on this host.
 */
export function enqueue({ envelope, bytes }: Prepared): void {
  const { sender, recipients } = envelope;
  const faults = recipients.flatMap((recipient) => {
    const reason = addressFault(recipient);
    return reason === undefined ? [] : [{ recipient, status: statuses.badRecipient, reason }];
  });
  if (faults.length > 0) throw new MessageSendingFailure(faults);
  const fault = sender === '' ? undefined : addressFault(sender);
  if (fault !== undefined) {
    throw new MessageSendingFailure([{ recipient: '', status: statuses.badSender, reason: fault }]);
  }

  const folder = spoolFolder();
  if (!existsSync(folder)) {
    throw new CommandError(
      exitCodes.configuration,
      `there is no queue on this host: no folder ${folder}`,
    );
  }
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    throw new CommandError(
      exitCodes.notPermitted,
      `no permission to write to the queue ${folder}: ${USE_SENDMAIL}`,
    );
  }
  const input = Buffer.concat([...writeBsmtp(envelope, [bytes])]);
  const id = `gmail-${randomBytes(16).toString('hex')}`;
  const { status, stdout, error } = spawnSync(launcher(), [id, '--spool', folder], {
    input,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: withoutSecrets(process.env),
  });
  if (status !== 0) {
    throw new CommandError(exitCodes.busy, error?.message ?? stdout.toString().trim());
  }
}

/** exim-pipe of this package or checkout; or else where the Debian package has it. */
function launcher(): string {
  const own = fileURLToPath(new URL('../../exim/exim-pipe', import.meta.url));
  return existsSync(own) ? own : '/usr/lib/appengine-mailer/exim-pipe';
}
