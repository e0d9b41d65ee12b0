import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../host/run-command.ts';
import { drainLock } from '../../spool/drain-lock.ts';
import { fault, notChecked, ok, type Finding } from './finding.ts';

/** Whether something drains the spool: systemd's unit, or who else has the lock. */
export function checkDrain(folder: string): Finding {
  const systemd = existsSync('/run/systemd/system');
  const state = systemd ? runCommand('systemctl', 'is-active', UNIT).stdout.trim() : 'unknown';
  if (state === 'active') return ok('drain', `${UNIT} is active`);
  const otherwise = systemd ? `${UNIT} is ${state}` : 'there is no systemd here';
  try {
    if (isDrained(folder)) return ok('drain', `a drain is at work (${otherwise})`);
  } catch (error) {
    return notChecked('drain', (error as Error).message);
  }
  return fault(
    'drain',
    `nothing sends what is in ${folder}: ${otherwise}`,
    systemd
      ? `systemctl enable --now ${UNIT}; why it ended: journalctl -u ${UNIT}`
      : 'run appengine-mailer drain',
  );
}

const UNIT = 'appengine-mailer.service';

function isDrained(folder: string): boolean {
  // Asking makes the file, which is for drain to do.
  if (!existsSync(join(folder, 'drain.lock'))) return false;
  const lock = drainLock(folder);
  lock?.release();
  return lock === undefined;
}
