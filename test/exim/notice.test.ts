import assert from 'node:assert/strict';
import test from 'node:test';
import { needs } from '../support/needs.ts';
import { PrivateExim } from '../support/private-exim.ts';
import { run } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

// Python's parser is a reader of mail that is not ours.
const READ = `
import email, json, sys
mail = email.message_from_binary_file(sys.stdin.buffer)
people, programs, message = mail.get_payload()
fields, recipient = programs.get_payload()
print(json.dumps({
  'type': mail.get_content_type(),
  'from': mail['From'],
  'return': mail.get_unixfrom(),
  'defects': [str(d) for p in mail.walk() for d in p.defects],
  'recipient': dict(recipient.items()),
  'envelope': fields['Original-Envelope-Id'],
  'subject': message.get_payload()[0]['Subject'],
  'body': message.get_payload()[0].get_payload(),
}))`;

test(
  'Exim takes the report and the sender reads it; the report itself goes nowhere else (law 9)',
  needs('root', 'exim4', 'python3'),
  async (t) => {
    const road = new Road(t);
    const exim = new PrivateExim(road);
    const port = await exim.listen();
    await exim.send('me@host.example', ['nobody@remote.example'], 'Subject: hello\n\n.\nß\n');
    const proxy = await ScriptedProxy.start(t, road.key, (post) =>
      post.answer(() => ({ status: '5.1.1', reason: 'no such user' })),
    );
    const env = { GMAIL_PROXY_URL: proxy.url, APPENGINE_MAILER_NOTICE_SMTP: `127.0.0.1:${port}` };
    const { stderr } = await road.drain(['--once'], env).ended;
    assert.match(stderr, /<me@host\.example> was told/);
    await exim.runQueue();
    const box = exim.mailbox();
    assert.match(box, /^From MAILER-DAEMON /);
    const { stdout, stderr: trouble } = await run(t, '/usr/bin/python3', ['-c', READ], {
      input: box,
    });
    assert.equal(trouble, '');
    const read = JSON.parse(stdout.toString()) as Record<string, unknown>;
    assert.equal(read['type'], 'multipart/report');
    assert.deepEqual(read['defects'], []);
    assert.deepEqual(read['recipient'], {
      'Final-Recipient': 'rfc822; nobody@remote.example',
      Action: 'failed',
      Status: '5.1.1',
      'Diagnostic-Code': 'x-appengine-mailer; 5.1.1 no such user',
    });
    assert.equal(read['subject'], 'hello');
    assert.match(String(read['body']), /^\.\n/);
    assert.equal(proxy.posts.length, 1);
    assert.equal((await road.messages()).length, 1);
  },
);
