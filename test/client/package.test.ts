import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test('what npm packs works in a fresh project: ESM, CommonJS, types, commands', async (t) => {
  const project = await freshProject(t);
  const scripted = await ScriptedProxy.start(t, 'a secret key', (post) => post.accept());
  const env = { GMAIL_SECRET_KEY: scripted.key, GMAIL_PROXY_URL: scripted.url };
  const use = `
    const transport = createTransport(gmail());
    if (typeof MessageSendingFailure !== 'function') throw new Error('no MessageSendingFailure');
    const mail = { from: 's@example.com', to: 'r@example.org', subject: 'x', text: 'x' };
    transport.sendMail(mail)
      .then(() => new GmailProxy().sendMail('From: s@example.com\\nTo: r@example.org\\n\\nx\\n'))
      .then((sent) => console.log(sent));`;
  const files = {
    'esm.mjs': `
      import { GmailProxy, MessageSendingFailure } from 'appengine-mailer';
      import { gmail } from 'appengine-mailer/nodemailer';
      import { createTransport } from 'nodemailer';${use}`,
    'commonjs.cjs': `
      const { GmailProxy, MessageSendingFailure } = require('appengine-mailer');
      const { gmail } = require('appengine-mailer/nodemailer');
      const { createTransport } = require('nodemailer');${use}`,
  };
  for (const [file, text] of Object.entries(files)) {
    const ended = await runIn(t, project, [file], text, env);
    assert.deepEqual([ended.code, ended.stdout.toString(), ended.stderr], [0, 'true\n', ''], file);
  }
  assert.equal(scripted.posts.length, 4);

  for (const command of ['appengine-mailer', 'gmail']) {
    const path = `node_modules/appengine-mailer/dist/bin/${command}.js`;
    const { code, stdout } = await run(t, process.execPath, [path, '--help'], { cwd: project });
    assert.equal(code, 0);
    assert.match(stdout.toString(), new RegExp(`^${command} `));
  }
});

test('its types are those of what it does, for ESM and CommonJS', async (t) => {
  const project = await freshProject(t);
  const typed = `
    import { GmailProxy, MessageSendingFailure } from 'appengine-mailer';
    import { gmail } from 'appengine-mailer/nodemailer';
    import { createTransport } from 'nodemailer';
    export async function send(): Promise<boolean> {
      const proxy = new GmailProxy('key', 'https://proxy.example.org/', { fixSender: true, failSilently: true });
      try {
        await createTransport(gmail({ secretKey: 'key' })).sendMail({ text: 'x' });
        return await proxy.sendMail(Buffer.from('x'), { recipients: ['r@example.org'] });
      } catch (error) {
        const failure = error as MessageSendingFailure;
        const told: [string | undefined, string, boolean] = [failure.status, failure.reason, failure.permanent];
        return told[2];
      }
    }`;
  const wrong = `import { GmailProxy } from 'appengine-mailer';
    export const sent: Promise<string> = new GmailProxy().sendMail('x');`;
  for (const [file, text] of Object.entries({ 'esm.mts': typed, 'commonjs.cts': typed })) {
    const { code, stdout } = await check(t, project, file, text);
    assert.equal(code, 0, stdout.toString());
  }
  const { stdout } = await check(t, project, 'wrong.mts', wrong);
  assert.match(stdout.toString(), /Promise<boolean>' is not assignable/);
});

/** A project that has the package as npm packs it, and what it depends on from this checkout. */
async function freshProject(t: TestContext): Promise<string> {
  const project = scratch(t);
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', project];
  const packed = await run(t, 'npm', pack, { cwd: inCheckout('.'), env: { HOME: project } });
  assert.equal(packed.code, 0, packed.stderr);
  const modules = join(project, 'node_modules');
  const target = join(modules, 'appengine-mailer');
  mkdirSync(target, { recursive: true });
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'));
  const words = ['-xzf', join(project, tarball ?? ''), '--strip-components=1', '-C', target];
  assert.equal((await run(t, 'tar', words)).code, 0);
  for (const name of readdirSync(inCheckout('node_modules'))) {
    if (!name.startsWith('.')) symlinkSync(inCheckout(`node_modules/${name}`), join(modules, name));
  }
  writeFileSync(join(project, 'package.json'), '{}');
  return project;
}

async function runIn(
  t: TestContext,
  project: string,
  args: string[],
  text: string,
  env: NodeJS.ProcessEnv,
) {
  writeFileSync(join(project, args[0] ?? ''), text);
  return run(t, process.execPath, args, { cwd: project, env });
}

async function check(t: TestContext, project: string, file: string, text: string) {
  writeFileSync(join(project, file), text);
  const options = '--noEmit --strict --module nodenext --target es2023 --types node'.split(' ');
  const tsc = inCheckout('node_modules/typescript/bin/tsc');
  return run(t, process.execPath, [tsc, ...options, file], { cwd: project });
}
