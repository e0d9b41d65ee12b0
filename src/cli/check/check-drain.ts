import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { runCommand } from '../../host/run-command.ts';
import { drainRuns } from '../../spool/locks.ts';
import { spoolTroubleStatus } from '../../spool/with-spool.ts';
import { fault, notChecked, ok, type Finding } from '../../host/finding.ts';

/** Whether something drains the spool, with the settings of now: systemd's unit, or who else has the lock. */
export function checkDrain(folder: string): Finding {
  const unit = existsSync('/run/systemd/system') ? showUnit() : undefined;
  const active = unit?.['ActiveState'] === 'active';
  const changed = active ? settingsChangedSince(unit['ExecMainStartTimestamp']) : undefined;
  if (changed !== undefined) {
    const text = `${UNIT} is active, but was started before ${changed} was changed`;
    return fault('drain', text, `systemctl restart ${UNIT}`);
  }
  const met = active ? unit['StatusText'] : undefined;
  if (met?.startsWith(spoolTroubleStatus)) {
    return fault(
      'drain',
      met,
      'make room on the disk or see to it (dmesg); drain goes on by itself',
    );
  }
  const service = unit ? `${UNIT} is ${unit['ActiveState']}` : 'there is no systemd here';
  try {
    accessSync(folder, constants.X_OK); // Who may not look finds no lock.
    if (drainRuns(folder)) return ok('drain', active ? service : `a drain is at work (${service})`);
  } catch (error) {
    return notChecked('drain', (error as Error).message);
  }
  const text = `nothing sends what is in ${folder}: ${service}${active ? ', for another spool' : ''}`;
  return fault('drain', text, remedy(unit));
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
  const names = 'ActiveState,ConditionResult,ConditionTimestamp,ExecMainStartTimestamp,StatusText';
  const { stdout } = runCommand('systemctl', 'show', '--timestamp=unix', '-p', names, UNIT);
  const lines = stdout.split('\n').map((line) => line.split(/=(.*)/s, 2));
  return Object.fromEntries(lines) as Unit;
}

/** A setting that drain has not read: it reads them when it starts. A replaced file has an old mtime. */
function settingsChangedSince(start = ''): string | undefined {
  const seconds = Number(start.slice(1));
  return SETTINGS.find((file) => {
    const { ctimeMs = 0 } = statSync(file, { throwIfNoEntry: false }) ?? {};
    return Math.floor(ctimeMs / 1000) > seconds;
  });
}

function remedy(unit: Unit | undefined): string {
  if (!unit) return 'run appengine-mailer drain';
  const { ActiveState, ConditionResult, ConditionTimestamp } = unit;
  if (ActiveState === 'active') {
    return 'name the spool in /etc/default/appengine-mailer, which all programs read, and nowhere else';
  }
  if (ActiveState === 'failed' || ActiveState === 'activating') {
    return `journalctl -u ${UNIT} -n 20 tells why; fix that, then systemctl restart ${UNIT}`;
  }
  if (ConditionResult === 'no' && ConditionTimestamp !== '') {
    return `it lacks the URL or the key: dpkg-reconfigure appengine-mailer, then systemctl start ${UNIT}`;
  }
  return `systemctl enable --now ${UNIT}`;
}
