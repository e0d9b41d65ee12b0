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

  /** `others`: packages whose questions debconf knows, as it does when apt installs several together. */
  constructor(t: TestContext, name: string, others: readonly string[] = []) {
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
    const known = others.map((each) =>
      readFileSync(inCheckout(`debian/${each}.templates`), 'utf8'),
    );
    writeFileSync(file('others'), known.join('\n').replace(/^_/gm, ''));
    this.#t = t;
    this.#folder = folder;
    this.#name = name;
    this.#env = { DEBCONF_SYSTEMRC: file('debconf.conf'), PATH: '/usr/sbin:/usr/bin:/bin' };
  }

  /** Has debconf load the questions of the other packages. */
  async loadOthers(): Promise<void> {
    const words = ['-e', LOAD, join(this.#folder, 'others')];
    const { code, stderr } = await run(this.#t, 'perl', words, { env: this.#env });
    assert.equal(code, 0, stderr);
  }

  /** Answers a question beforehand, as an unattended installation does. */
  async preseed(question: string, answer: string, type = 'password'): Promise<void> {
    const owner = question.includes('/') ? question : `${this.#name}/${question}`;
    const input = `${this.#name} ${owner} ${type} ${answer}\n`;
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
    const left = join(this.#folder, 'left');
    writeFileSync(left, answers.map((each) => `${each}\n`).join(''));
    await this.#type(`
      grep -q '/${question}=' "$1" || exit 0
      sed -i "s|/${question}=.*|/${question}=\\"$(head -n 1 ${left})\\"|" "$1"
      sed -i 1d ${left}`);
    return answers.length - readFileSync(left, 'utf8').split('\n').length + 1;
  }

  /** Those of these questions that are asked of somebody who changes no answer. */
  async asked(questions: readonly string[]): Promise<string[]> {
    const shown = join(this.#folder, 'shown');
    writeFileSync(shown, '');
    await this.#type(`cat "$1" >>${shown}`);
    const text = readFileSync(shown, 'utf8');
    return questions.filter((question) => text.includes(`${this.#name}/${question}=`));
  }

  /** Has this script of the shell edit the questions. */
  async #type(script: string): Promise<void> {
    const types = join(this.#folder, 'types');
    writeFileSync(types, `#!/bin/sh\n${script}\n`);
    chmodSync(types, 0o755);
    const env = { ...this.#env, DEBIAN_FRONTEND: 'editor', VISUAL: types, EDITOR: types };
    // script(1) makes the terminal that debconf wants.
    const command = `/usr/share/debconf/frontend ${this.#folder}/config configure ''`;
    const { code, stdout } = await run(this.#t, 'script', ['-qec', command, '/dev/null'], { env });
    assert.equal(code, 0, stdout.toString());
  }

  /** Everything is asked again, with the answers that there are. */
  async forget(): Promise<void> {
    const asked = readFileSync(join(this.#folder, 'answers'), 'utf8');
    writeFileSync(join(this.#folder, 'answers'), asked.replace(/^Flags: seen\n/gm, ''));
  }

  async answer(question: string): Promise<string> {
    const input = `GET ${this.#name}/${question}\n`;
    const env = this.#env;
    const { stdout } = await run(this.#t, 'debconf-communicate', [this.#name], { input, env });
    return stdout.toString().replace(/^0 ?/, '').trim();
  }
}

/** As dpkg-preconfigure(8) does. */
const LOAD =
  'use Debconf::Db; use Debconf::Template; ' +
  'Debconf::Db->load; Debconf::Template->load($ARGV[0], "others"); Debconf::Db->save';

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

const providers: Record<string, Record<string, string>> = {
  smtp: { 'smtp-host': 'smtp.example.org', 'smtp-user': 'me', 'smtp-password': 'secret' },
  ses: {
    'ses-region': 'eu-central-1',
    'ses-access-key-id': 'AKIDEXAMPLE',
    'ses-secret-access-key': 'secret',
  },
  mailgun: {
    'mailgun-domain': 'mg.example.org',
    'mailgun-url': 'https://api.eu.mailgun.net',
    'mailgun-api-key': 'secret',
  },
  jmap: { 'jmap-url': 'https://jmap.example.org/', 'jmap-user': '', 'jmap-token': 'secret' },
};

for (const [backend, answers] of Object.entries(providers)) {
  test(
    `who chooses ${backend} is asked for what it needs, and for nothing else`,
    needs('debconf'),
    async (t) => {
      const questions = new Questions(t, 'appengine-mailer-proxy');
      await questions.preseed('backend', backend, 'select');
      for (const [question, answer] of Object.entries(answers)) {
        await questions.forget();
        assert.equal(await questions.ask(question, [answer]), 1, question);
        assert.equal(await questions.answer(question), answer);
      }
      const others = Object.entries(providers).flatMap(([other, those]) =>
        other === backend ? [] : Object.keys(those),
      );
      await questions.forget();
      assert.deepEqual(await questions.asked(others), []);
    },
  );
}

test('a password is asked for only where there is a user', needs('debconf'), async (t) => {
  const questions = new Questions(t, 'appengine-mailer-proxy');
  for (const [backend, user, secrets] of [
    ['smtp', 'smtp-user', ['smtp-password']],
    ['ses', 'ses-access-key-id', ['ses-secret-access-key']],
    ['jmap', 'jmap-user', ['jmap-password']],
  ] as const) {
    await questions.preseed('backend', backend, 'select');
    await questions.forget();
    assert.deepEqual(await questions.asked(secrets), []);
    await questions.preseed(user, 'me', 'string');
    await questions.forget();
    assert.deepEqual(await questions.asked(secrets), secrets);
  }
});

test(
  'queue and proxy that are installed together need neither URL nor key (law 10)',
  needs('debconf'),
  async (t) => {
    const [host, proxy] = ['appengine-mailer', 'appengine-mailer-proxy'];
    const alone = new Questions(t, host);
    assert.deepEqual(await alone.asked(['proxy-url', 'secret-key']), ['proxy-url', 'secret-key']);
    const together = new Questions(t, host, [proxy]);
    await together.loadOthers();
    assert.deepEqual(await together.asked(['proxy-url', 'secret-key']), []);
    assert.equal(await together.answer('proxy-url'), 'http+unix:/run/appengine-mailer-proxy.sock');

    const elsewhere = new Questions(t, host, [proxy]);
    await elsewhere.loadOthers();
    await elsewhere.preseed('proxy-url', 'https://proxy.example.org/', 'string');
    await elsewhere.forget();
    assert.deepEqual(await elsewhere.asked(['proxy-url', 'secret-key']), [
      'proxy-url',
      'secret-key',
    ]);

    const proxyAlone = new Questions(t, proxy);
    assert.deepEqual(await proxyAlone.asked(['secret-keys']), ['secret-keys']);
    const proxyBeside = new Questions(t, proxy, [host]);
    await proxyBeside.loadOthers();
    assert.deepEqual(await proxyBeside.asked(['secret-keys']), []);
    const ofOthers = new Questions(t, proxy, [host]);
    await ofOthers.loadOthers();
    await ofOthers.preseed(`${host}/proxy-url`, 'https://proxy.example.org/', 'string');
    assert.deepEqual(await ofOthers.asked(['secret-keys']), ['secret-keys']);
  },
);
