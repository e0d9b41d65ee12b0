import assert from 'node:assert/strict';
import { chmodSync, chownSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { account } from '../support/account.ts';
import { appengineMailerAs, type Ids } from '../support/as-account.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const NOBODY = { uid: 65_534, gid: 65_534 };

test(
  'members of the spool’s group use the queue commands without root, others do not (77)',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    chmodSync(road.folder, 0o711); // The account passes through it.
    chownSync(road.spool, uid, gid);
    chmodSync(road.spool, 0o2770);
    const operator: Ids = { ...NOBODY, groups: [gid] };
    const queue = async (who: Ids, ...args: string[]) =>
      appengineMailerAs(road, who, ['queue', ...args, '--spool', road.spool]).ended;

    const ids = handIn(road.spool, [{}, {}, {}, {}, {}]);
    const [held = '', released = '', bounced = '', deleted = '', retried = ''] = ids;
    const outsider = await queue(NOBODY, 'list');
    assert.equal(outsider.code, 77, outsider.stderr);
    assert.match(outsider.stderr, /run the command as root or as a member of its group/);

    // The first to work on the spool makes SQLite's own files there; the service has to write to them.
    for (const args of [
      ['list'],
      ['show', held, '--raw'],
      ['explain', held],
      ['hold', held, released],
      ['release', released],
      ['bounce', bounced],
      ['delete', deleted],
      ['retry', retried],
      ['stats', '--max-age', '1h'],
    ]) {
      const { code, stderr } = await queue(operator, ...args);
      assert.deepEqual([code, stderr], [0, ''], args.join(' '));
    }
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const env = { GMAIL_PROXY_URL: proxy.url, GMAIL_SECRET_KEY: road.key };
    const args = ['drain', '--spool', road.spool];
    const service = appengineMailerAs(road, { uid, gid }, args, env);
    await service.says(/> sent \(/, 2);
    assert.equal((await queue(operator, 'hold', 'nothing')).code, 1);
    assert.equal((await queue(operator, 'release', held)).code, 0);
    assert.equal((await queue(operator, 'retry', bounced)).code, 0);
    await service.says(/> sent \(/, 4);
    assert.equal((await service.stop()).code, 0);
    assert.deepEqual(
      lookInto(road.spool).messages.map(({ state }) => state),
      ['sent', 'sent', 'sent', 'deleted', 'sent'],
    );
    for (const name of readdirSync(road.spool)) {
      const file = statSync(join(road.spool, name));
      assert.deepEqual([file.gid, file.mode & 0o777], [gid, 0o660], name);
    }
  },
);
