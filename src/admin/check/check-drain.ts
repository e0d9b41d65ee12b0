import { existsSync, statSync } from 'node:fs';
import { runCommand } from '../../host/run-command.ts';
import { drainRuns } from '../../spool/drain-lock.ts';
import { fault, notChecked, ok, type Finding } from './finding.ts';

/** Whether something drains the spool, with the settings of now: systemd's unit, or who else has the lock. */
export function checkDrain(folder: string): Finding {
  const unit = existsSync('/run/systemd/system') ? showUnit() : undefined;
  if (unit?.['ActiveState'] === 'active') {
    const changed = settingsChangedSince(Number(unit['ExecMainStartTimestamp']?.slice(1)));
    if (changed === undefined) return ok('drain', `${UNIT} is active`);
    const text = `${UNIT} is active, but was started before ${changed} was changed`;
    return fault('drain', text, `systemctl restart ${UNIT}`);
  }
  const otherwise = unit ? `${UNIT} is ${unit['ActiveState']}` : 'there is no systemd here';
  try {
    if (drainRuns(folder)) return ok('drain', `a drain is at work (${otherwise})`);
  } catch (error) {
    return notChecked('drain', (error as Error).message);
  }
  return fault('drain', `nothing sends what is in ${folder}: ${otherwise}`, remedy(unit));
}

const UNIT = 'appengine-mailer.service';
const SETTINGS = [
  '/etc/envdir/GMAIL_SECRET_KEY',
  '/etc/envdir/GMAIL_PROXY_URL',
  '/etc/default/appengine-mailer',
];

/** Properties of the unit, org.freedesktop.systemd1(5); a time is @ and seconds since 1970. */
type Unit = Partial<Record<string, string>>;

function showUnit(): Unit {
  const names = 'ActiveState,ConditionResult,ConditionTimestamp,ExecMainStartTimestamp';
  const { stdout } = runCommand('systemctl', 'show', '--timestamp=unix', '-p', names, UNIT);
  const lines = stdout.split('\n').map((line) => line.split(/=(.*)/s, 2));
  return Object.fromEntries(lines) as Unit;
}

/** A setting that drain has not read: it reads them when it starts. A replaced file has an old mtime. */
function settingsChangedSince(seconds: number): string | undefined {
  return SETTINGS.find((file) => {
    const { ctimeMs = 0 } = statSync(file, { throwIfNoEntry: false }) ?? {};
    return Math.floor(ctimeMs / 1000) > seconds;
  });
}

function remedy(unit: Unit | undefined): string {
  if (!unit) return 'run appengine-mailer drain';
  const { ActiveState, ConditionResult, ConditionTimestamp } = unit;
  if (ActiveState === 'failed' || ActiveState === 'activating') {
    return `journalctl -u ${UNIT} -n 20 tells why; mend that, then systemctl restart ${UNIT}`;
  }
  if (ConditionResult === 'no' && ConditionTimestamp !== '') {
    return `it lacks the URL or the key: dpkg-reconfigure appengine-mailer, then systemctl start ${UNIT}`;
  }
  return `systemctl enable --now ${UNIT}`;
}
