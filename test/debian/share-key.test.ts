import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { needs } from '../support/needs.ts';
import { onMachine } from '../support/on-machine.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

const SOCKET = 'http+unix:/run/appengine-mailer-proxy.sock';
const BOTH = 'mkdir -p $Q $P; touch $Q/exim-pipe $P/copy-keys';

/**
 * Runs share-key on a machine that is prepared by a script of the shell, and after it another script; returns what both
 * print. $Q and $P are the folders of the packages, $E is /etc/envdir.
 */
async function shareKey(
  t: TestContext,
  { before, version = '', after }: { before: string; version?: string; after: string },
): Promise<string> {
  const folder = scratch(t);
  const script = `
    mkdir $M/lib $M/libwork
    mount -t overlay -o lowerdir=/usr/lib,upperdir=$M/lib,workdir=$M/libwork overlay /usr/lib
    Q=/usr/lib/appengine-mailer P=/usr/lib/appengine-mailer-proxy E=/etc/envdir
    ${before}
    ${inCheckout('debian/lib/share-key')} '${version}' | tr '\\n' ' '
    echo
    cd $E 2>/dev/null || exit 0
    ${after}`;
  const memory = `M=${join(folder, 'memory')}`;
  const names = { hostname: 'host', hosts: '127.0.0.1 localhost' };
  const words = onMachine(folder, names, 'env', memory, 'sh', '-euc', script);
  const { code, stdout, stderr } = await run(t, ...words);
  assert.equal(code, 0, stderr);
  return stdout.toString();
}

const see = 'stat -c "%n %a" * && cat GMAIL_PROXY_URL && diff GMAIL_SECRET_KEY GMAIL_SECRET_KEYS';

test(
  'queue and proxy of one machine get one key and the URL of the socket, once (law 10)',
  needs('root'),
  async (t) => {
    const again = `${inCheckout('debian/lib/share-key')}; ${see} | sed 's/^[<>] //'`;
    const told = await shareKey(t, { before: BOTH, after: again });
    assert.equal(
      told,
      `key keys url \nGMAIL_PROXY_URL 644\nGMAIL_SECRET_KEY 600\nGMAIL_SECRET_KEYS 600\n${SOCKET}\n0a1\n# name local\n`,
    );
    const key = await shareKey(t, { before: BOTH, after: 'wc -c <GMAIL_SECRET_KEY' });
    assert.equal(key.split('\n')[1], '45', '32 octets in base64, and a line end');
  },
);

test(
  'a package that is alone, or whose queue posts elsewhere, is left as it is',
  needs('root'),
  async (t) => {
    const elsewhere = 'https://proxy.example.org/';
    for (const [before, version = ''] of [
      ['mkdir $P $E; touch $P/copy-keys'],
      ['mkdir $Q $E; touch $Q/exim-pipe'],
      [`${BOTH}; mkdir $E; echo ${elsewhere} >$E/GMAIL_PROXY_URL`],
      [
        `${BOTH}; mkdir $E; echo "export APPENGINE_MAILER_PROXY_URL=x" >/etc/default/appengine-mailer`,
      ],
      [`${BOTH}; mkdir $E`, '0.1.0'],
      [
        `${BOTH}; mkdir $E; echo k1 >$E/GMAIL_SECRET_KEY; echo k1 >$E/GMAIL_SECRET_KEYS; echo ${SOCKET} >$E/GMAIL_PROXY_URL`,
      ],
    ] as const) {
      const after = 'find . -newer $Q -name "*KEY*"; cat GMAIL_PROXY_URL 2>/dev/null || true';
      const found = await shareKey(t, {
        before: `${before}; sleep 0.02; touch $Q`,
        version,
        after,
      });
      const url = before.includes(elsewhere)
        ? `${elsewhere}\n`
        : before.includes(SOCKET)
          ? `${SOCKET}\n`
          : '';
      assert.equal(found, `\n${url}`, before);
    }
  },
);

test(
  'keys of others stay, as do their owner and mode; a key that the queue has is not replaced',
  needs('root'),
  async (t) => {
    const before = `${BOTH}; mkdir $E; printf '# name web1\\nkey-of-web1-0123' >$E/GMAIL_SECRET_KEYS
    chmod 640 $E/GMAIL_SECRET_KEYS; chgrp mail $E/GMAIL_SECRET_KEYS; echo own-key-01234567 >$E/GMAIL_SECRET_KEY`;
    const after = 'stat -c "%G %a" GMAIL_SECRET_KEYS; cat GMAIL_SECRET_KEYS GMAIL_SECRET_KEY';
    assert.equal(
      await shareKey(t, { before, after }),
      'keys url \nmail 640\n# name web1\nkey-of-web1-0123\n# name local\nown-key-01234567\nown-key-01234567\n',
    );
  },
);
