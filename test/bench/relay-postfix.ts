import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { POSTFIX } from '../support/needs.ts';
import { run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
import { POSTFIX_ENV, startPostfix } from '../support/start-postfix.ts';
import { MESSAGE, RECIPIENT, seconds, SENDER, type Relaying } from './backlog.ts';
import { inBench } from './in-bench.ts';
import { freePort, SmtpSink } from './smtp-sink.ts';

/**
 * Postfix as Debian sets it up, from its start to the last message. Its relayhost is the sink, which listens at an address
 * and is reached at that or at another one.
 */
export const postfix =
  (listens = '127.0.0.1', reached = listens): Relaying =>
  async (count) =>
    inBench(async (t) => {
      const folder = scratch(t);
      chmodSync(folder, 0o711);
      const sink = await SmtpSink.start(t, listens);
      const port = await freePort();
      const main = `
relayhost = [${reached}]:${sink.port}
inet_interfaces = loopback-only
inet_protocols = ipv4
smtp_dns_support_level = disabled
`;
      // Without a queue manager what comes in stays; nobody keeps it from coming fast.
      const filling = `127.0.0.1:${port} inet n - n - - smtpd\nanvil unix - - n - 1 anvil\n`;
      const master = await startPostfix(t, folder, {
        main: `${main}in_flow_delay = 0\n`,
        services: filling,
      });
      const source = join(POSTFIX ?? '', 'usr/sbin/smtp-source');
      const args = ['-s', '10', '-m', `${count}`, '-l', `${MESSAGE.length}`];
      const envelope = ['-f', SENDER, '-t', RECIPIENT, `127.0.0.1:${port}`];
      const { code, stderr } = await run(t, source, [...args, ...envelope], { env: POSTFIX_ENV });
      assert.equal(code, 0, stderr);
      await master.stop();

      const services = 'qmgr unix n - n 300 1 qmgr\nsmtp unix - - n - - smtp\n';
      const took = await seconds(async () => {
        await startPostfix(t, folder, { main, services });
        await sink.taken(count);
      });
      return { seconds: took };
    });
