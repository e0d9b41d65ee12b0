import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DebianExim, type DebianSetting } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';

const LIB = '/usr/lib/appengine-mailer';
const TEMPLATE = '/etc/exim4/exim4.conf.template';

/** What `exim enable` refuses: how it came to be, and what it says of it. */
const refusals: Record<
  string,
  { setting?: DebianSetting; spoil?: (exim: DebianExim) => void; says: RegExp }
> = {
  'type internet': {
    setting: { type: 'internet' },
    says: /configured as 'internet', which sends by no smarthost: choose .* dpkg-reconfigure/,
  },
  'type local': {
    setting: { type: 'local' },
    says: /configured as 'local', which sends by no smart/,
  },
  'a configuration written by hand': {
    spoil: (exim) => exim.write('/etc/exim4/exim4.conf', '# mine\n'),
    says: /configured by \/etc\/exim4\/exim4\.conf, written by hand: add what is in \S+\/exim to it/,
  },
  'a changed template, whose difference is shown': {
    spoil: (exim) => {
      const changed = (exim.read(TEMPLATE) ?? '').replace('F,4d,6h', 'F,9d,6h');
      exim.write(TEMPLATE, changed);
    },
    says: /^-\*.*F,9d,6h\n\+\*.*F,4d,6h\n[^]*conf\.d says something else than exim4\.conf\.template/m,
  },
  'a file in conf.d that is not in force yet': {
    spoil: (exim) => exim.write('/etc/exim4/conf.d/main/80_mine', 'message_size_limit = 7M\n'),
    says: /^\+message_size_limit = 7M\n[^]*says something else/m,
  },
  'DKIM_DOMAIN in exim4.conf.localmacros': {
    spoil: (exim) => exim.write('/etc/exim4/exim4.conf.localmacros', 'DKIM_DOMAIN = me.example\n'),
    says: /DKIM_DOMAIN is set \(me\.example\), .* unsigned.* --without-dkim\n$/,
  },
  'DKIM_DOMAIN in conf.d': {
    setting: { split: true },
    spoil: (exim) => exim.write('/etc/exim4/conf.d/main/00_mine', 'DKIM_DOMAIN = me.example\n'),
    says: /DKIM_DOMAIN is set/,
  },
  'no exim-pipe': {
    spoil: (exim) => exim.remove(`${LIB}/exim-pipe`),
    says: /there is no program \/usr\/lib\/appengine-mailer\/exim-pipe for Exim to run/,
  },
  'no account': {
    spoil: (exim) => {
      const accounts = exim.read('/etc/passwd') ?? '';
      exim.write('/etc/passwd', accounts.replace(/^appengine-mailer:.*\n/m, ''));
    },
    says: /there is no account appengine-mailer, as which Exim is to run/,
  },
  'no group': {
    spoil: (exim) => {
      const groups = exim.read('/etc/group') ?? '';
      exim.write('/etc/group', groups.replace(/^appengine-mailer:.*\n/m, ''));
    },
    says: /there is no group appengine-mailer/,
  },
  'another router that comes first': {
    setting: { split: true },
    spoil: (exim) =>
      exim.write(
        '/etc/exim4/conf.d/router/120_mine',
        'mine:\n  driver = manualroute\n  route_list = * 127.0.0.2\n  transport = remote_smtp\n  self = send\n',
      ),
    says: /would not reach the queue: Exim says ".*router = mine, transport = remote_smtp/,
  },
  'an option of ours that is set already': {
    setting: { split: true },
    spoil: (exim) =>
      exim.write('/etc/exim4/conf.d/main/80_mine', 'smtp_accept_queue_per_connection = 5\n'),
    says: /Exim does not take the configuration: .*smtp_accept_queue_per_connection.* second time/,
  },
  'Exim is not installed': {
    spoil: (exim) => exim.remove('/usr/sbin/exim4'),
    says: /Exim is not installed as Debian does it/,
  },
};

for (const [name, { setting, spoil, says }] of Object.entries(refusals)) {
  test(`enable refuses with 78 and changes nothing: ${name}`, needs('root', 'exim4'), async (t) => {
    const exim = await DebianExim.make(t, setting);
    spoil?.(exim);
    const before = await exim.configuration();
    const { code, said } = await exim.appengineMailer(['exim', 'enable']);
    assert.match(said, says);
    assert.equal(code, 78);
    assert.equal(await exim.configuration(), before);
  });
}

test('--without-dkim hands mail over unsigned', needs('root', 'exim4'), async (t) => {
  const exim = await DebianExim.make(t, { split: true });
  exim.write('/etc/exim4/conf.d/main/00_mine', 'DKIM_DOMAIN = me.example\n');
  await exim.switch('enable', '--without-dkim');
  await exim.switch('status');
});

test('77 without root; 64 for what is none of its commands', needs('root', 'exim4'), async (t) => {
  const exim = await DebianExim.make(t);
  const before = await exim.configuration();
  const operator = ['setpriv', '--reuid=1', '--regid=1', '--clear-groups', '--'];
  for (const verb of ['enable', 'disable']) {
    const { code, said } = await exim.appengineMailer(['exim', verb], {}, operator);
    assert.deepEqual(
      [code, said],
      [77, "appengine-mailer: this changes Exim's configuration: be root\n"],
    );
  }
  assert.equal((await exim.appengineMailer(['exim'])).code, 64);
  assert.equal((await exim.appengineMailer(['exim', 'toggle'])).code, 64);
  assert.equal(await exim.configuration(), before);
});
