import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Release } from './debian-root.ts';
import { builtPackages, nodePackage } from './debian-packages.ts';
import { Machine } from './machine.ts';
import { scratch } from './scratch.ts';

export interface Installation {
  release?: Release;
  /** What dpkg-reconfigure exim4-config asks first. */
  configtype?: 'smarthost' | 'satellite';
  split?: boolean;
  /** Further lines of update-exim4.conf.conf. */
  exim?: Record<string, string>;
  /** What debconf is preseeded with. */
  answers?: string;
}

/** Where the proxy's package delivers until told otherwise. */
export const DELIVERED = '/var/lib/appengine-mailer-proxy/delivered';

/** The secret that both packages are preseeded with. */
export const SECRET = 'correct-horse-battery-staple-77';

/** The answers of an administrator who installs unattended: host kit and proxy on one machine. */
export const ANSWERS = `
appengine-mailer appengine-mailer/proxy-url string http+unix:/run/appengine-mailer-proxy.sock
appengine-mailer appengine-mailer/secret-key password ${SECRET}
appengine-mailer appengine-mailer/enable-exim boolean true
appengine-mailer-proxy appengine-mailer-proxy/secret-keys password ${SECRET}
`;

/** `apt-get install`, of files only: the machine has no network. */
export const INSTALL = 'DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --allow-downgrades';

/**
 * A machine on which both packages were installed with apt, preseeded: its Exim has example.org as its
 * own domain and a smarthost that nobody answers at, so that nothing else than the packages delivers.
 */
export async function installedMachine(
  t: TestContext,
  { release = 'trixie', answers = ANSWERS, ...exim }: Installation = {},
): Promise<Machine> {
  const machine = await Machine.boot(t, { release, prepare: (root) => configureExim(root, exim) });
  await machine.sh('useradd -m alice; useradd -m bob; update-exim4.conf; systemctl restart exim4');
  if (release === 'bookworm') {
    await machine.sh(`${INSTALL} ${machine.put(nodePackage('20', scratch(t)))}`);
  }
  const { host, proxy } = builtPackages();
  await machine.sh('debconf-set-selections', { input: answers });
  await machine.sh(`${INSTALL} ${machine.put(host)} ${machine.put(proxy)}`);
  return machine;
}

function configureExim(
  root: string,
  { configtype = 'smarthost', split = false, exim = {} }: Installation,
): void {
  const settings = {
    dc_eximconfig_configtype: configtype,
    dc_other_hostnames: 'example.org',
    dc_local_interfaces: '127.0.0.1',
    dc_readhost: '',
    dc_relay_domains: '',
    dc_minimaldns: 'true',
    dc_relay_nets: '',
    dc_smarthost: '192.0.2.1',
    CFILEMODE: '644',
    dc_use_split_config: String(split),
    dc_hide_mailname: 'false',
    dc_mailname_in_oh: 'true',
    dc_localdelivery: 'mail_spool',
    ...exim,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}='${value}'\n`);
  writeFileSync(join(root, 'etc/exim4/update-exim4.conf.conf'), lines.join(''));
  writeFileSync(join(root, 'etc/mailname'), 'example.org\n');
  writeFileSync(join(root, 'etc/hostname'), 'host\n');
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost\n127.0.1.1 host.example.org host\n');
}
