import assert from 'node:assert/strict';
import test from 'node:test';
import { attempt, type PostResult, type PostRequest } from '../../src/wire/attempt.ts';
import { Connection } from '../../src/wire/connection.ts';
import { encodeVerdicts } from '../../src/wire/verdicts.ts';
import { greetedServer, signedAnswer } from '../support/greeted-server.ts';
import { signedPositions, spoiled } from '../support/spoiled.ts';

const key = Buffer.from('a secret key');
const post: PostRequest = {
  id: '0123456789abcdef0123456789abcdef',
  envelope: { sender: 's@example.com', recipients: ['a@example.org', 'b@example.org'] },
  bytes: [Buffer.from('Subject: x\n\nx\n')],
  size: 14,
};
const verdicts = [
  { recipient: 'a@example.org', status: '2.0.0', reason: 'sent' },
  { recipient: 'b@example.org', status: '4.2.2', reason: 'mailbox full' },
];

/** An answer as it goes over the wire; `by` is whose key signs it. */
function answerTo({ id }: PostRequest, given = verdicts, by = key): Buffer {
  return signedAnswer(by, id, encodeVerdicts(id, given));
}

/** One attempt at a server that answers as somebody on the way does. */
async function ask(url: URL, asked: PostRequest): Promise<PostResult> {
  const connection = new Connection({ url, key });
  try {
    return await attempt(connection, asked, new AbortController().signal);
  } finally {
    await connection.close();
  }
}

test('an answer with a changed byte, anywhere, says nothing else about a recipient (law 5)', async (t) => {
  const whole = answerTo(post);
  const isSigned = signedPositions(whole);
  let answer = whole;
  const { url } = await greetedServer(t, key, (socket) => socket.end(answer));
  for (const { position, how, bytes } of spoiled(whole)) {
    answer = bytes;
    const result = await ask(url, post);
    const where = `${how} byte ${position}: ${JSON.stringify(result)}`;
    if (isSigned(position)) assert.notEqual(result.kind, 'verdicts', where);
    else if (result.kind === 'verdicts') assert.deepEqual(result.verdicts, verdicts, where);
  }
  answer = whole;
  assert.deepEqual(await ask(url, post), { kind: 'verdicts', verdicts });
});

test('an answer of another key, or to another message or other recipients, says nothing (law 5)', async (t) => {
  const unsigned = 'the answer is not signed with our key';
  const refused = verdicts.map((verdict) => ({ ...verdict, status: '5.1.1' }));
  const other = { ...post, id: 'fedcba9876543210fedcba9876543210' };
  const ofOthers: [string, Buffer, PostRequest, string][] = [
    [
      'of a key that the proxy has for another host',
      answerTo(post, refused, Buffer.from('other')),
      post,
      unsigned,
    ],
    ['to another message', answerTo(other, refused), post, unsigned],
    [
      'to an attempt before, when there were more recipients',
      answerTo(post, refused),
      { ...post, envelope: { sender: '', recipients: ['b@example.org'] } },
      'the answer has 2 verdicts for 1 recipients',
    ],
    [
      'to an attempt before, with other recipients',
      answerTo(post, refused),
      { ...post, envelope: { sender: '', recipients: ['b@example.org', 'c@example.org'] } },
      'the answer is about other recipients',
    ],
  ];
  for (const [name, answer, asked, fault] of ofOthers) {
    const { url } = await greetedServer(t, key, (socket) => socket.end(answer));
    const result = await ask(url, asked);
    assert.equal(result.kind === 'invalid-response' && result.fault, fault, name);
  }
});

test('a request that comes back as its own answer says nothing, whatever its status (law 5)', async (t) => {
  // The only text of ours, signed with the right key, that somebody without the key always has.
  const probe: PostRequest = {
    ...post,
    envelope: { sender: '', recipients: [] },
    bytes: [],
    size: 0,
  };
  for (const asked of [post, probe]) {
    for (const status of [200, 204, 401, 409, 413, 503]) {
      const { url } = await greetedServer(t, key, (socket, request) =>
        socket.end(request.replace(/^[^\r]*/, `HTTP/1.1 ${status} x`), 'latin1'),
      );
      const result = await ask(url, asked);
      assert.notEqual(result.kind, 'verdicts', `${status}: ${JSON.stringify(result)}`);
    }
  }
});
