import { mkdirSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { NULLMAILER } from '../support/needs.ts';
import { run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
import { MESSAGE, RECIPIENT, seconds, SENDER, type Relaying } from './backlog.ts';
import { inBench } from './in-bench.ts';
import { SmtpSink } from './smtp-sink.ts';

/** nullmailer, with the sink as its remote: one run over its queue. */
export const nullmailer: Relaying = async (count) =>
  inBench(async (t) => {
    const folder = scratch(t);
    const sink = await SmtpSink.start(t);
    for (const name of ['etc', 'etc/nullmailer', 'spool', 'spool/nullmailer']) {
      mkdirSync(join(folder, name));
    }
    for (const name of ['queue', 'tmp', 'failed'])
      mkdirSync(join(folder, 'spool/nullmailer', name));
    spawnSync('mkfifo', [join(folder, 'spool/nullmailer/trigger')]);
    const settings = {
      me: 'host.example',
      remotes: `127.0.0.1 smtp port=${sink.port}`,
      pausetime: '0', // It ends after one run.
    };
    for (const [name, text] of Object.entries(settings)) {
      writeFileSync(join(folder, 'etc/nullmailer', name), `${text}\n`);
    }
    for (let number = 0; number < count; number += 1) {
      const file = join(folder, 'spool/nullmailer/queue', `1800000000.${number}`);
      writeFileSync(file, `${SENDER}\n${RECIPIENT}\n\n${MESSAGE}`);
    }
    spawnSync('sync', ['-f', folder]);
    // Its places are compiled in; only it sees them so.
    const script = `
mount --make-rprivate / 2>/dev/null
mount -t overlay -o lowerdir="$0"/etc:/etc overlay /etc
mount -t overlay -o lowerdir="$1"/usr/lib:/usr/lib overlay /usr/lib
mount --bind "$0"/spool /var/spool
exec "$1"/usr/sbin/nullmailer-send`;
    const took = await seconds(async () => {
      const args = ['-m', '--propagation', 'unchanged', '/bin/sh', '-ec', script, folder];
      const { code, stderr } = await run(t, 'unshare', [...args, NULLMAILER]);
      assert.equal(code, 0, stderr);
      await sink.taken(count);
    });
    return { seconds: took };
  });
