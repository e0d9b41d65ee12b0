import { thisMachine } from '../../src/host/machine.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { submitReport } from '../../src/drain/reports/submit-report.ts';
import { limits } from '../../src/limits.ts';

/** More than the kernel keeps of what a server does not read. */
const report = Buffer.alloc(24 * 1024 * 1024, `${'x'.repeat(70)}\r\n`);

test('a mail server that stops reading for a while has the time of a block, not that of the dot (law 13)', async (t) => {
  // Shortened; a block may take longer than the dot, so that it shows which of them counts.
  Object.assign(limits, { smtpBlockMs: 60_000, smtpDotMs: 1500 });
  const server = createServer((socket) => void serve(socket).catch(() => {}));
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { signal } = new AbortController();
  const submission = await submitReport('s@host.example', report, {
    server: { host: '127.0.0.1', port },
    name: 'mx.host.example',
    machine: thisMachine,
    signal,
  });
  assert.deepEqual(submission, { kind: 'taken', text: '250 2.0.0 taken' });
});

/** Takes one message, and stops reading within it for longer than the dot may take. */
async function serve(socket: Socket): Promise<void> {
  socket.on('error', () => {}); // A hand-over that is given up is cut.
  socket.write('220 x\r\n');
  let inData = false;
  for await (const chunk of socket) {
    const text = String(chunk);
    if (inData && text.endsWith('\r\n.\r\n')) socket.end('250 2.0.0 taken\r\n');
    if (inData) continue;
    for (const _ of text.matchAll(/^(?:EHLO|MAIL|RCPT) /gm)) socket.write('250 ok\r\n');
    inData = /^DATA\r$/m.test(text);
    if (!inData) continue;
    socket.write('354 go on\r\n');
    await sleep(2 * limits.smtpDotMs);
  }
}
