import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/host/clock.ts';
import type { PostFailure, PostRequest, PostResult } from '../../src/wire/attempt.ts';
import { postUntilSettled } from '../../src/wire/post-until-settled.ts';
import type { Verdict } from '../../src/wire/verdicts.ts';

const bytes = [Buffer.from('x\n')];
const post: PostRequest = {
  id: 'an-id',
  envelope: { sender: 's@example.com', recipients: ['a', 'b', 'c'] },
  bytes,
  size: 2,
};
const patient = new AbortController().signal;

const sent = (recipient: string): Verdict => ({ recipient, status: '2.0.0', reason: 'ok' });
const surplus = (recipient: string): Verdict => ({ recipient, status: '4.5.3', reason: 'later' });
const slow = (recipient: string): Verdict => ({
  recipient,
  status: '4.4.0',
  reason: 'in progress',
  inProgress: true,
});
const failure: PostFailure = { kind: 'aborted' };

/** Answers one request after the other, and notes whom each is for and whether it only asks. */
function scripted(...answers: (Verdict[] | PostFailure)[]) {
  const requests: PostRequest[] = [];
  const once = async (request: PostRequest): Promise<PostResult> => {
    requests.push(request);
    const answer = answers.shift();
    assert.ok(answer, 'one post too many');
    return Array.isArray(answer) ? { kind: 'verdicts', verdicts: answer } : answer;
  };
  const posted = () =>
    requests.map(({ envelope, ask }) => `${ask ? 'ask' : 'post'} ${envelope.recipients.join('')}`);
  return { once, requests, posted };
}

test('one post is enough when every recipient gets a verdict', async () => {
  const { once, requests } = scripted([sent('a'), sent('b'), sent('c')]);
  const result = await postUntilSettled(post, once, systemClock, patient);
  assert.deepEqual(result, { verdicts: [sent('a'), sent('b'), sent('c')] });
  assert.deepEqual(requests, [post]);
});

test('a message without recipients is not posted', async () => {
  const { once } = scripted();
  const nobody = { ...post, envelope: { sender: '', recipients: [] } };
  assert.deepEqual(await postUntilSettled(nobody, once, systemClock, patient), { verdicts: [] });
});

test('recipients that were too many are posted again at once, until none is left', async () => {
  const { once, requests, posted } = scripted(
    [sent('a'), surplus('b'), surplus('c')],
    [sent('b'), surplus('c')],
    [sent('c')],
  );
  const { verdicts } = await postUntilSettled(post, once, systemClock, patient);
  assert.deepEqual(verdicts, [sent('a'), sent('b'), sent('c')]);
  assert.deepEqual(posted(), ['post abc', 'post bc', 'post c']);
  assert.equal(requests.at(-1)?.bytes, bytes);
});

test('a proxy to which everybody is too many is not posted to for ever', async () => {
  const { once, posted } = scripted(
    [sent('a'), surplus('b'), surplus('c')],
    [surplus('b'), surplus('c')],
  );
  const { verdicts } = await postUntilSettled(post, once, systemClock, patient);
  assert.deepEqual(verdicts, [sent('a'), surplus('b'), surplus('c')]);
  assert.deepEqual(posted(), ['post abc', 'post bc']);
});

test('the proxy is asked, without the bytes, for those that are in progress', async () => {
  const { once, requests, posted } = scripted(
    [sent('a'), slow('b'), surplus('c')],
    [slow('c')],
    [sent('b'), sent('c')],
  );
  const { verdicts } = await postUntilSettled(post, once, systemClock, patient);
  assert.deepEqual(verdicts, [sent('a'), sent('b'), sent('c')]);
  assert.deepEqual(posted(), ['post abc', 'post c', 'ask bc']);
  assert.deepEqual([requests[2]?.bytes, requests[2]?.size], [[], 0]);
});

test('a failure leaves those without a settled verdict out, and keeps the others (law 5)', async () => {
  const { once, posted } = scripted([sent('a'), slow('b'), surplus('c')], failure);
  const result = await postUntilSettled(post, once, systemClock, patient);
  assert.deepEqual(result, { verdicts: [sent('a')], failure });
  assert.deepEqual(posted(), ['post abc', 'post c']);
});

test('a failure of the first post leaves everybody without a verdict', async () => {
  const { once } = scripted(failure);
  assert.deepEqual(await postUntilSettled(post, once, systemClock, patient), {
    verdicts: [],
    failure,
  });
});

test('when patience is over the proxy is not asked again, and what is in progress stays so', async () => {
  const { once, posted } = scripted([sent('a'), slow('b'), slow('c')]);
  const result = await postUntilSettled(post, once, systemClock, AbortSignal.abort());
  assert.deepEqual(result, { verdicts: [sent('a'), slow('b'), slow('c')] });
  assert.deepEqual(posted(), ['post abc']);
});

test('a question that ends because patience is over is no failure', async () => {
  const patience = new AbortController();
  const { once, posted } = scripted([sent('a'), slow('b'), slow('c')], failure);
  const asking = async (request: PostRequest) => {
    if (request.ask) patience.abort();
    return once(request);
  };
  const result = await postUntilSettled(post, asking, systemClock, patience.signal);
  assert.deepEqual(result, { verdicts: [sent('a'), slow('b'), slow('c')] });
  assert.deepEqual(posted(), ['post abc', 'ask bc']);
});
