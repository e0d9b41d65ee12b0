import assert from 'node:assert/strict';
import { Agent, get } from 'node:http';
import test from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LocalProxy } from '../support/local-proxy.ts';

const ROUND = 1500;
/** Per request; one leaked promise reaction is more than twice as much. */
const MOST_BYTES = 150;

test('a request that is answered leaves nothing in memory', async (t) => {
  const { address } = await LocalProxy.start(t);
  const [host, port] = address.split(':');
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ask = async () =>
    new Promise<void>((resolve, reject) => {
      get({ host, port, agent }, (response) => {
        response.resume().on('end', resolve);
      }).on('error', reject);
    });
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const round = async () => {
    for (let asked = 0; asked < ROUND; asked += 1) await ask();
    collect();
    return process.memoryUsage().heapUsed;
  };
  await round(); // Compiles the code, and fills what is kept on purpose.
  const before = await round();
  const after = await round();
  assert.ok(after - before < ROUND * MOST_BYTES, `${(after - before) / ROUND} bytes a request`);
});
