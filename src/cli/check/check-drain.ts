import { accessSync, constants, statSync } from 'node:fs';
import { runCommand } from '../../host/run-command.ts';
import { hasSystemd } from '../../host/systemd/has-systemd.ts';
import { drainRuns } from '../../spool/locks.ts';
import { spoolTroubleStatus } from '../../spool/with-spool.ts';
import { fault, notChecked, ok, type Finding } from '../../host/finding.ts';

/** Whether a drain works on the spool, with the settings of now: that of systemd's unit, or another that has the lock. */
export function checkDrain(folder: string): Finding {
  const unit = hasSystemd() ? showUnit() : undefined;
  const isActive = unit?.['ActiveState'] === 'active';
  const trouble = isActive ? troubleOf(unit) : undefined;
  if (trouble) return trouble;
  const service = unit ? `${UNIT} is ${unit['ActiveState']}` : 'there is no systemd here';
  try {
    accessSync(folder, constants.X_OK); // Without this permission no lock would be found.
    if (drainRuns(folder)) {
      return ok('drain', isActive ? service : `a drain is running (${service})`);
    }
  } catch (error) {
    return notChecked('drain', (error as Error).message);
  }
  const elsewhere = isActive ? ', for another spool' : '';
  return fault('drain', `nothing sends what is in ${folder}: ${service}${elsewhere}`, remedy(unit));
}

/** What is wrong with a unit that is active. */
function troubleOf(unit: Unit): Finding | undefined {
  const changed = settingsChangedSince(unit['ExecMainStartTimestamp']);
  if (changed !== undefined) {
    const text = `${UNIT} is active, but was started before ${changed} was changed`;
    return fault('drain', text, `systemctl restart ${UNIT}`);
  }
  const status = unit['StatusText'];
  if (!status?.startsWith(spoolTroubleStatus)) return undefined;
  const todo =
    'make room on the disk, or look for its errors (dmesg); drain then goes on by itself';
  return fault('drain', status, todo);
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

/** A file of settings that changed after drain read it, at its start. A replaced file may have an old mtime. */
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
    return 'set the spool only in /etc/default/appengine-mailer, which all programs read';
  }
  if (ActiveState === 'failed' || ActiveState === 'activating') {
    return `journalctl -u ${UNIT} -n 20 tells why; fix that, then run systemctl restart ${UNIT}`;
  }
  if (ConditionResult === 'no' && ConditionTimestamp !== '') {
    return `the URL or the key is missing: run dpkg-reconfigure appengine-mailer, then systemctl start ${UNIT}`;
  }
  return `systemctl enable --now ${UNIT}`;
}
