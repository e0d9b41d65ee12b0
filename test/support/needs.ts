import { accessSync } from 'node:fs';

/** Where Postfix is: installed, or unpacked beside Exim as .ci/run does it. */
export const POSTFIX = ['/opt/postfix', ''].find((root) =>
  exists(`${root}/usr/lib/postfix/sbin/master`),
);

/** Where OpenSMTPD is unpacked. */
export const OPENSMTPD = '/opt/opensmtpd';

/** Where Cyrus IMAP is unpacked, with what serves JMAP. */
export const CYRUS = '/opt/cyrus';

/** Where nullmailer is unpacked. */
export const NULLMAILER = '/opt/nullmailer';

/** systemd’s journal, where Debian has it. */
export const JOURNALD = '/lib/systemd/systemd-journald';

/** What a machine may lack; the value says where it is seen. */
const machine = {
  root: () => process.geteuid?.() === 0 || 'it needs root',
  exim4: () => exists('/usr/sbin/exim4') || 'it needs exim4 (Debian: exim4-daemon-light)',
  postfix: () => POSTFIX !== undefined || 'it needs Postfix (Debian: postfix, see .ci/run)',
  opensmtpd: () =>
    exists(`${OPENSMTPD}/usr/sbin/smtpd`) || 'it needs OpenSMTPD (Debian: opensmtpd, see .ci/run)',
  cyrus: () =>
    exists(`${CYRUS}/usr/lib/cyrus/bin/httpd`) ||
    'it needs Cyrus IMAP (Debian: cyrus-common, cyrus-caldav, see .ci/run)',
  nullmailer: () =>
    exists(`${NULLMAILER}/usr/sbin/nullmailer-send`) ||
    'it needs nullmailer (Debian: nullmailer, see .ci/run)',
  cc: () => exists('/usr/bin/cc') || 'it needs a C compiler (Debian: gcc, libc6-dev)',
  faketime: () => FAKETIME.some(exists) || 'it needs libfaketime (Debian: libfaketime)',
  ext4: () =>
    ['/usr/sbin/mkfs.ext4', '/dev/loop-control'].every(exists) ||
    'it needs mkfs.ext4 and loop devices (Debian: e2fsprogs)',
  xfs: () =>
    ['/usr/sbin/mkfs.xfs', '/dev/loop-control'].every(exists) ||
    'it needs mkfs.xfs and loop devices (Debian: xfsprogs)',
  openssl: () => exists('/usr/bin/openssl') || 'it needs openssl',
  postgres: () => exists('/usr/lib/postgresql') || 'it needs PostgreSQL (Debian: postgresql)',
  nginx: () => exists('/usr/sbin/nginx') || 'it needs nginx (Debian: nginx-light)',
  python3: () => exists('/usr/bin/python3') || 'it needs python3',
  systemd: () => exists('/usr/bin/systemd-analyze') || 'it needs systemd',
  journald: () =>
    [JOURNALD, '/usr/bin/systemd-cat', '/etc/machine-id'].every(exists) || 'it needs systemd',
  chromium: () => exists('/usr/bin/chromium') || 'it needs Chromium (Debian: chromium)',
  prometheus: () =>
    ['/usr/bin/promtool', '/usr/bin/prometheus'].every(exists) ||
    'it needs Prometheus (Debian: prometheus)',
  mandoc: () => exists('/usr/bin/mandoc') || 'it needs mandoc',
  debhelper: () => exists('/usr/bin/dh') || 'it needs debhelper and po-debconf',
  debconf: () =>
    ['/usr/share/debconf/frontend', '/usr/bin/script'].every(exists) ||
    'it needs debconf and script (Debian: bsdutils)',
  lintian: () => exists('/usr/bin/lintian') || 'it needs lintian',
  git: () => exists('/usr/bin/git') || 'it needs git',
  curl: () => exists('/usr/bin/curl') || 'it needs curl',
  machines: () =>
    ['/usr/bin/systemd-nspawn', '/usr/bin/mmdebstrap'].every(exists) ||
    'it needs systemd-nspawn and mmdebstrap (Debian: systemd-container, mmdebstrap) and root',
} as const;

/** libfaketime's multi-thread library, where Debian puts it. */
export const FAKETIME = ['x86_64', 'aarch64'].map(
  (cpu) => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketimeMT.so.1`,
);

/**
 * For the options of a test: says why it is skipped when the machine lacks something, else false. With
 * CI=true nothing may be skipped, and the test file fails instead.
 */
export function needs(...things: (keyof typeof machine)[]): { skip: string | false } {
  const missing = things.map((thing) => machine[thing]()).filter((found) => found !== true);
  if (missing.length > 0 && process.env['CI'] === 'true') {
    throw new Error(`a test would be skipped, but CI=true: ${missing.join(', ')}`);
  }
  return { skip: missing.length > 0 && missing.join(', ') };
}

function exists(file: string): boolean {
  try {
    accessSync(file);
    return true;
  } catch {
    return false;
  }
}
