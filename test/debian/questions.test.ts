import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

/** Debconf with databases of the test's own, and a package whose questions it asks. */
class Questions {
  readonly #t: TestContext;
  readonly #folder: string;
  readonly #name: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(t: TestContext, name: string) {
    const folder = scratch(t);
    const file = (each: string) => join(folder, each);
    const database = (each: string) => `Name: ${each}\nDriver: File\nFilename: ${file(each)}\n\n`;
    writeFileSync(
      file('debconf.conf'),
      `Config: answers\nTemplates: questions\n\n${database('answers')}${database('questions')}`,
    );
    copyFileSync(inCheckout(`debian/${name}.config`), file('config'));
    chmodSync(file('config'), 0o755);
    const templates = readFileSync(inCheckout(`debian/${name}.templates`), 'utf8');
    writeFileSync(file('templates'), templates.replace(/^_/gm, ''));
    this.#t = t;
    this.#folder = folder;
    this.#name = name;
    this.#env = { DEBCONF_SYSTEMRC: file('debconf.conf'), PATH: '/usr/sbin:/usr/bin:/bin' };
  }

  /** Answers a password beforehand, as an unattended installation does. */
  async preseed(question: string, answer: string): Promise<void> {
    const input = `${this.#name} ${this.#name}/${question} password ${answer}\n`;
    const { code } = await run(this.#t, 'debconf-set-selections', [], { input, env: this.#env });
    assert.equal(code, 0);
  }

  /** Asks nobody. */
  async askNobody(): Promise<void> {
    const env = { ...this.#env, DEBIAN_FRONTEND: 'noninteractive' };
    const words = [join(this.#folder, 'config'), 'configure', ''];
    const { code, stderr } = await run(this.#t, '/usr/share/debconf/frontend', words, { env });
    assert.equal(code, 0, stderr);
  }

  /** Asks somebody who types these answers to the question, one after the other; returns how often it was asked. */
  async ask(question: string, answers: readonly string[]): Promise<number> {
    const [types, left] = [join(this.#folder, 'types'), join(this.#folder, 'left')];
    writeFileSync(left, answers.map((each) => `${each}\n`).join(''));
    const script = `#!/bin/sh
      grep -q '/${question}=' "$1" || exit 0
      sed -i "s|/${question}=.*|/${question}=\\"$(head -n 1 ${left})\\"|" "$1"
      sed -i 1d ${left}\n`;
    writeFileSync(types, script);
    chmodSync(types, 0o755);
    const env = { ...this.#env, DEBIAN_FRONTEND: 'editor', VISUAL: types, EDITOR: types };
    // script(1) makes the terminal that debconf wants.
    const command = `/usr/share/debconf/frontend ${this.#folder}/config configure ''`;
    const { code, stdout } = await run(this.#t, 'script', ['-qec', command, '/dev/null'], { env });
    assert.equal(code, 0, stdout.toString());
    return answers.length - readFileSync(left, 'utf8').split('\n').length + 1;
  }

  async answer(question: string): Promise<string> {
    const input = `GET ${this.#name}/${question}\n`;
    const env = this.#env;
    const { stdout } = await run(this.#t, 'debconf-communicate', [this.#name], { input, env });
    return stdout.toString().replace(/^0 ?/, '').trim();
  }
}

const LONG = 'sixteen-octets..';
const SHORT = 'fifteen-octets.';
const both = [
  ['appengine-mailer', 'secret-key'],
  ['appengine-mailer-proxy', 'secret-keys'],
] as const;

for (const [name, question] of both) {
  test(
    `law 10: ${name} takes no key that can be guessed, whether anybody can be asked or not`,
    needs('debconf'),
    async (t) => {
      const questions = new Questions(t, name);
      await questions.preseed(question, SHORT);
      await questions.askNobody();
      assert.equal(await questions.answer(question), '');
      await questions.preseed(question, LONG);
      await questions.askNobody();
      assert.equal(await questions.answer(question), LONG);

      const typed = new Questions(t, name);
      assert.equal(await typed.ask(question, [SHORT, 'x', LONG, 'not asked']), 3);
      assert.equal(await typed.answer(question), LONG);
    },
  );
}

test(
  'one bad key among those of the proxy is enough: a short one, or what would be a comment',
  needs('debconf'),
  async (t) => {
    const questions = new Questions(t, 'appengine-mailer-proxy');
    const good = `${LONG}  another-key-of-31-octets-or-more`;
    const asked = await questions.ask('secret-keys', [
      `${LONG} ${SHORT}`,
      `${LONG} #${LONG}`,
      good,
      'not asked',
    ]);
    assert.equal(asked, 3);
    assert.equal(await questions.answer('secret-keys'), good);
  },
);

test(
  'the package asks at priority high what becomes of the mail, since nothing leaves the machine without an answer',
  needs('debconf'),
  async (t) => {
    const questions = new Questions(t, 'appengine-mailer-proxy');
    assert.equal(await questions.ask('backend', ['smtp', 'not asked']), 1);
    assert.equal(await questions.answer('backend'), 'smtp');
    assert.equal(await questions.ask('backend', ['not asked']), 0, 'it was answered');
  },
);
