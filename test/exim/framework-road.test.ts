import assert from 'node:assert/strict';
import test from 'node:test';
import { needs } from '../support/needs.ts';
import { PrivateExim } from '../support/private-exim.ts';
import { run } from '../support/program.ts';
import { Road } from '../support/road.ts';

/** What Django's SMTP backend does: smtplib, the message as bytes, Bcc in the envelope alone. */
const DJANGO = `
import smtplib, sys
from email.message import EmailMessage
mail = EmailMessage()
mail['From'] = 'Shop <shop@host.example>'
mail['To'] = 'one@a.example'
mail['Subject'] = 'Bestellung für Sie'
mail.set_content('Grüße\\n.\\n..dots\\n')
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as smtp:
    recipients = ['one@a.example', 'blind@b.example']
    smtp.sendmail('shop@host.example', recipients, mail.as_bytes(policy=mail.policy.clone(linesep='\\r\\n')))
`;

test(
  "a framework's mail by SMTP to the local Exim arrives, with its envelope and its text",
  needs('exim4', 'root', 'python3'),
  async (t) => {
    const road = new Road(t);
    const exim = new PrivateExim(road);
    const port = await exim.listen();
    const sent = await run(t, '/usr/bin/python3', ['-c', DJANGO, `${port}`]);
    assert.equal(sent.code, 0, sent.stderr);
    await exim.runQueue();

    await road.proxy();
    const { code, stderr } = await road.drain(['--once']).ended;
    assert.equal(code, 0, stderr);
    const [mail, ...more] = road.deliveries();
    assert.deepEqual(more, []);
    assert.equal(mail?.sender, 'shop@host.example');
    assert.deepEqual(mail.recipients.toSorted(), ['blind@b.example', 'one@a.example']);
    const text = mail.bytes.toString();
    assert.match(
      text,
      /^From: Shop <shop@host.example>\nTo: one@a.example\nSubject: Bestellung =\?utf-8\?q\?f=C3=BCr\?= Sie$/m,
    );
    assert.match(text, /\n\nGrüße\n\.\n\.\.dots\n$/);
    assert.doesNotMatch(text, /blind/);
    assert.equal(exim.mailbox(), '');
  },
);
