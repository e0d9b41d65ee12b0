import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../support/program.ts';
import { bsmtp } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { MESSAGE, RECIPIENT, seconds, SENDER, type Relaying } from './backlog.ts';
import { inBench } from './in-bench.ts';
import { SmtpSink } from './smtp-sink.ts';

/** Exim's own smtp transport, with the sink as its smarthost: one run over its queue. */
export const exim: Relaying = async (count) =>
  inBench(async (t) => {
    const folder = scratch(t);
    chmodSync(folder, 0o711);
    const sink = await SmtpSink.start(t);
    const config = join(folder, 'config');
    writeFileSync(config, configOf(folder, sink.port));
    const message = bsmtp(SENDER, [RECIPIENT], MESSAGE);
    const input = Buffer.concat(Array.from({ length: count }, () => message));
    const taken = await run(t, EXIM, ['-C', config, '-odq', '-bS'], { input });
    assert.equal(taken.code, 0, taken.stderr);
    const took = await seconds(async () => {
      const { code, stderr } = await run(t, EXIM, ['-C', config, '-q']);
      assert.equal(code, 0, stderr);
      await sink.taken(count);
    });
    return { seconds: took };
  });

const EXIM = '/usr/sbin/exim4';

const configOf = (folder: string, port: number) => `
spool_directory = ${folder}/spool
log_file_path = ${folder}/spool/log/%slog
primary_hostname = host.example
qualify_domain = host.example
trusted_users = root
keep_environment =
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = remote
begin transports
remote:
  driver = smtp
  port = ${port}
  hosts_avoid_tls = *
  allow_localhost
begin retry
* * F,1h,1m
`;
