import assert from 'node:assert/strict';
import { chmodSync, chownSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createTransport } from 'nodemailer';
import { account } from '../support/account.ts';
import { needs } from '../support/needs.ts';
import { PrivatePostfix } from '../support/private-postfix.ts';
import { appengineMailer, inCheckout, type Program } from '../support/program.ts';
import { readSpool, type Spooled } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { until } from '../support/until.ts';

/** A Postfix that sends by the commands of the manual, through the LMTP server, drain and a proxy; its users are a@ and b@example.org. */
class Host {
  readonly road: Road;
  readonly postfix: PrivatePostfix;
  readonly #t: TestContext;
  readonly #socket: string;

  private constructor(t: TestContext, road: Road, postfix: PrivatePostfix) {
    this.#t = t;
    this.road = road;
    this.postfix = postfix;
    this.#socket = join(road.spool, 'intake.sock');
  }

  static async make(t: TestContext): Promise<Host> {
    const host = new Host(t, new Road(t), await PrivatePostfix.start(t, { tls: false }));
    const { road, postfix } = host;
    const { uid, gid } = account(); // That of Postfix.
    chmodSync(road.folder, 0o711);
    chownSync(road.spool, uid, gid);
    await postfix.configure(commandsOfManual().replaceAll(USUAL, host.#socket));
    return host;
  }

  async intake(): Promise<Program> {
    const args = ['intake', '--socket', this.#socket, '--spool', this.road.spool];
    const intake = appengineMailer(this.#t, args);
    await intake.says(/takes mail on/);
    return intake;
  }

  /** Hands a message to Postfix, and returns the id that Postfix gives it. */
  async send(from: string, to: string): Promise<string> {
    const transport = createTransport({ host: '127.0.0.1', port: this.postfix.port });
    const raw = `From: ${from}\r\nSubject: ${to}\r\n\r\n${BODY.replaceAll('\n', '\r\n')}`;
    const { response } = await transport.sendMail({ envelope: { from, to }, raw });
    transport.close();
    return /queued as (\S+)/.exec(response)?.[1] ?? response;
  }

  /** The message with this id of Postfix, once it is in the spool and in this state. */
  async message(id: string, state: string): Promise<Spooled> {
    let found: Spooled | undefined;
    const look = () => readSpool(this.road.spool).find(({ eximId }) => eximId === id);
    await until(
      () => (found = look())?.state === state,
      () => `${id} is ${found?.state}: ${this.postfix.log()}`,
    );
    return found as Spooled;
  }
}

const USUAL = '/run/appengine-mailer/intake.sock';
const BODY = `.\n..\n${'long '.repeat(1000)}\n\u00e4\n`;

/** The commands for Postfix that the manual shows. */
function commandsOfManual(): string {
  const page = readFileSync(inCheckout('debian/man/appengine-mailer-postfix.7'), 'utf8');
  const [, block = ''] = /^These commands send[^]*?^\.Bd .*\n([^]*?)^\.Ed$/m.exec(page) ?? [];
  assert.match(block, /^postconf -e default_transport=/m);
  return block.replace(/^postfix reload$/m, '');
}

test(
  'Postfix, set up as the manual says, sends through the queue, through two outages, and brings a bounce back',
  needs('root', 'postfix'),
  async (t) => {
    const host = await Host.make(t);
    const { road, postfix } = host;
    const proxyArgs = ['--backend', 'file', '--allow-sender', 'a@example.org'];
    let proxy = await road.proxy(proxyArgs);
    const intake = await host.intake();
    await road.drain(['--notice-smtp', `127.0.0.1:${postfix.port}`]).says(/started/);

    // Its id is that of Postfix, and its bytes, long lines too, are those that Postfix has.
    const first = await host.message(
      await host.send('a@example.org', 'you@remote.example'),
      'sent',
    );
    assert.match(
      postfix.log(),
      new RegExp(`${first.eximId}: .*status=sent \\(250 2\\.0\\.0 queued ${first.id}\\)`),
    );
    const [delivered] = road.deliveries();
    assert.equal(delivered?.sender, 'a@example.org');
    assert.deepEqual(delivered.recipients, ['you@remote.example']);
    assert.match(delivered.bytes.toString(), /^Received: .*\n\tby postfix\.example /);
    assert.ok(delivered.bytes.toString().endsWith(`\n\n${BODY}`));

    // The proxy is away: mail waits in the spool.
    await proxy.stop();
    const second = await host.send('a@example.org', 'you@remote.example');
    await host.message(second, 'queued');
    // The LMTP server is away: mail waits at Postfix.
    await intake.stop();
    const third = await host.send('a@example.org', 'you@remote.example');
    await until(
      () => new RegExp(`${third}: .*status=deferred`).test(postfix.log()),
      () => postfix.log(),
    );
    proxy = await road.proxy(proxyArgs);
    await host.intake();
    await postfix.flush();
    await host.message(second, 'sent');
    await host.message(third, 'sent');
    assert.equal(road.deliveries().length, 3);

    // The proxy refuses this sender, who is told so.
    const refused = await host.message(
      await host.send('b@example.org', 'you@remote.example'),
      'bounced',
    );
    const [report] = await postfix.mailbox('b', 1);
    assert.match(String(report), /^Final-Recipient: rfc822; ?you@remote\.example$/im);
    assert.equal(refused.sender, 'b@example.org');
    assert.doesNotMatch(postfix.log(), /status=bounced/);
  },
);
