import assert from 'node:assert/strict';
import { once, EventEmitter } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { unixDatagrams } from '../../src/host/systemd/unix-datagram.ts';
import { DatagramServer } from '../support/datagram-server.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

test('datagrams arrive whole and in their order, NUL and the largest that Linux takes among them', async (t) => {
  const path = join(scratch(t), 'socket');
  const events = new EventEmitter();
  const server = new DatagramServer(t, path).listen(() => events.emit('heard'));
  const { send, close } = unixDatagrams(path);
  // net.core.wmem_default is 208 KiB, of which the kernel needs some.
  const datagrams = [Buffer.from('READY=1'), Buffer.from('a\0b\n'), Buffer.alloc(200 * 1024, 'x')];
  for (const datagram of datagrams) {
    const heard = once(events, 'heard');
    assert.equal(send(datagram), undefined);
    await heard;
  }
  close();
  assert.ok(Buffer.concat(server.received).equals(Buffer.concat(datagrams)));
  assert.deepEqual(
    server.received.map(({ length }) => length),
    datagrams.map(({ length }) => length),
  );
});

test('an abstract socket is named with an @, as systemd does in NOTIFY_SOCKET', async (t) => {
  const name = `appengine-mailer-${process.pid}`;
  const events = new EventEmitter();
  const server = new DatagramServer(t, `\0${name}`).listen(() => events.emit('heard'));
  const { send, close } = unixDatagrams(`@${name}`);
  const heard = once(events, 'heard');
  assert.equal(send(Buffer.from('STATUS=x')), undefined);
  await heard;
  close();
  assert.deepEqual(server.received.map(String), ['STATUS=x']);
});

test('what cannot be sent at once is not sent, and it is said why', (t) => {
  const folder = scratch(t);
  const path = join(folder, 'socket');
  assert.equal(codeOf(path), 'ENOENT');
  assert.equal(codeOf('@nobody-is-there'), 'ECONNREFUSED');
  assert.equal(codeOf(join(folder, 'x'.repeat(200))), 'EINVAL');
  void new DatagramServer(t, path);
  assert.equal(codeOf(path, Buffer.alloc(2 ** 20)), 'EMSGSIZE');
  // Nobody reads: the queue of the socket is full some time (net.unix.max_dgram_qlen).
  let sent = 0;
  while (codeOf(path) === undefined) sent++;
  assert.equal(codeOf(path), 'EAGAIN');
  assert.ok(sent > 0);
});

test('a socket is closed when it is told so, and one that is open keeps no process from ending', async (t) => {
  const before = openFiles();
  for (let i = 0; i < 10; i++) {
    const { send, close } = unixDatagrams('/nowhere');
    send(Buffer.from('x'));
    close();
  }
  assert.equal(openFiles(), before);

  const module = inCheckout('dist/host/systemd/unix-datagram.js');
  const script = `(await import(${JSON.stringify(module)})).unixDatagrams('/nowhere').send(Buffer.from('x'))`;
  const { code } = await run(t, process.execPath, ['--input-type=module', '-e', script]);
  assert.equal(code, 0);
});

/** The code of the error with which a datagram is not sent. */
function codeOf(path: string, datagram = Buffer.from('x')): string | undefined {
  const { send, close } = unixDatagrams(path);
  const error: NodeJS.ErrnoException | undefined = send(datagram);
  close();
  if (error) assert.match(error.message, /^sendto .*: \w/);
  return error?.code;
}

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}
