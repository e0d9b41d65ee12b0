import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { inCheckout } from '../support/program.ts';

/** Something that a source file imports: a file of ours by its path in src, or a module by its name. */
interface Import {
  /** Types alone, which are gone when the program runs. */
  typeOnly: boolean;
  file?: string;
  module?: string;
}

const STATEMENT = /^(?:import|export)(?<types> type)? (?:[^;'=()]*? from )?'(?<what>[^']+)';$/gm;
const CALL =
  /(?:\bimport|\brequire(?:\.resolve)?|\bcreateRequire\([^)]*\))\(['`](?<what>[^'`]+)['`]\)/g;

const sources = new Map(
  readdirSync(inCheckout('src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .map((path) => [path, readFileSync(inCheckout(`src/${path}`), 'utf8')]),
);

function importsOf(path: string): Import[] {
  const text = sources.get(path);
  assert.ok(text !== undefined, `src/${path} is imported and does not exist`);
  return [...text.matchAll(STATEMENT), ...text.matchAll(CALL)].map(({ groups }) => {
    const typeOnly = groups?.['types'] !== undefined;
    const what = groups?.['what'] ?? '';
    return what.startsWith('.')
      ? { typeOnly, file: join(dirname(path), what) }
      : { typeOnly, module: what };
  });
}

/** The files that run when this one is loaded. */
function closure(path: string, seen = new Set<string>()): Set<string> {
  if (seen.has(path)) return seen;
  seen.add(path);
  for (const { file, typeOnly } of importsOf(path)) if (file && !typeOnly) closure(file, seen);
  return seen;
}

const ANY = /^/;

/** What each folder may import besides itself: folders or files of ours, and modules. limits.ts is everybody's. */
const rules: Record<string, { files: (string | RegExp)[]; modules: RegExp }> = {
  'limits.ts': { files: [], modules: /^$/ },
  mail: { files: [], modules: /^idn-hostname$/ },
  host: { files: ['mail'], modules: ANY },
  sqlite: { files: ['host', 'mail'], modules: ANY },
  spool: { files: ['sqlite', 'host', 'mail'], modules: ANY },
  wire: { files: ['host', 'mail'], modules: ANY },
  intake: { files: ['spool', 'sqlite', 'host', 'mail'], modules: /^node:/ },
  watch: { files: ['spool', 'sqlite', 'host', 'mail'], modules: /^node:/ },
  drain: { files: ['watch', 'spool', 'wire', 'sqlite', 'host', 'mail'], modules: ANY },
  proxy: {
    files: [
      'wire',
      'sqlite',
      'host',
      'mail',
      /^watch\/(?:build-metric|metric|metrics-|figure-book|flow|html|page)/,
    ],
    modules: ANY,
  },
  client: { files: ['wire', 'host', 'mail'], modules: ANY },
  cli: {
    files: [
      'watch',
      'spool',
      'wire',
      'sqlite',
      'host',
      'mail',
      /^(?:drain|proxy|client|intake)\/command\.ts$/,
      /^proxy\/ledger\/(?:read-ledger|with-ledger|postgres\/postgres-url|sqlite\/rebuild-ledger|postgres\/postgres-ledger-faults)\.ts$/,
      /^proxy\/check\/check-proxy\.ts$/,
    ],
    modules: ANY,
  },
  bin: { files: [ANY], modules: ANY },
};

test('imports go bin → stations → spool, wire → host, mail, as DESIGN and src/README.md say', () => {
  const wrong = [...sources.keys()].flatMap((path) => {
    const station = path.split('/')[0] ?? '';
    const rule = rules[station];
    if (!rule) return [`src/${path}: a station without a rule`];
    return importsOf(path)
      .filter(({ file, module }) => {
        if (module !== undefined) return !rule.modules.test(module);
        return !['limits.ts', station, ...rule.files].some((allowed) =>
          typeof allowed === 'string'
            ? file === allowed || file?.startsWith(`${allowed}/`)
            : allowed.test(file ?? ''),
        );
      })
      .map(({ file, module }) => `src/${path} imports ${module ?? `src/${file}`}`);
  });
  assert.deepEqual(wrong, []);
});

/** Folders with one door: other folders run nothing else of them. */
const doors = {
  'proxy/backends/appengine/': 'appengine-backend.ts',
  'wire/v1/': 'v1.ts',
};

for (const [folder, door] of Object.entries(doors)) {
  test(`other folders import ${folder}${door} and no other file of that folder`, () => {
    const wrong = [...sources.keys()]
      .filter((path) => !path.startsWith(folder))
      .flatMap((path) =>
        importsOf(path)
          .filter(({ file, typeOnly }) => file?.startsWith(folder) && !typeOnly)
          .filter(({ file }) => file !== `${folder}${door}`)
          .map(({ file }) => `src/${path} imports src/${file}`),
      );
    assert.deepEqual(wrong, []);
    assert.ok(sources.has(`${folder}${door}`));
  });
}

test('only the appengine backend imports the packages that take messages apart', () => {
  const users = [...sources.keys()].filter((path) =>
    importsOf(path).some(({ module }) => PARSERS.test(module ?? '')),
  );
  assert.ok(users.length > 0);
  const others = users.filter((path) => !path.startsWith('proxy/backends/appengine/'));
  assert.deepEqual(others, []);
});

const PARSERS = /^(?:mailparser|libmime|html-to-text)$/;

test('every kind of import is seen by this test', () => {
  const modules = (path: string) => importsOf(path).map(({ file, module }) => file ?? module);
  assert.deepEqual(modules('bin/exim-pipe.ts'), ['node:fs', 'intake/exim-pipe.ts']);
  assert.ok(modules('sqlite/schema-faults.ts').includes('sqlite/better-sqlite3.ts'));
  const koffi = importsOf('host/systemd/unix-datagram.ts').at(-1);
  assert.deepEqual(koffi, { typeOnly: false, module: '@koromix/koffi-linux-${process.arch}' });
  assert.ok(importsOf('drain/drain.ts').some(({ file }) => file === 'spool/claim.ts'));
  assert.ok(
    importsOf('cli/queue/serve-exim.ts').some(({ module }) => module === 'node:child_process'),
  );
});

test('exim-pipe loads nothing but intake, spool, mail, the settings, and the opening and the clock of a database', () => {
  const files = [...closure('bin/exim-pipe.ts')];
  const folders = new Set(files.map((file) => file.split('/')[0] ?? ''));
  assert.deepEqual([...folders].toSorted(), [
    'bin',
    'host',
    'intake',
    'limits.ts',
    'mail',
    'spool',
    'sqlite',
  ]);
  const host = files.filter((file) => file.startsWith('host/'));
  assert.deepEqual(host.toSorted(), [
    'host/clock.ts',
    'host/collected-bytes.ts',
    'host/command-error.ts',
    'host/free-space.ts',
    'host/give-up-root.ts',
    'host/new-id.ts',
    'host/read-variables.ts',
    'host/regular-file.ts',
    'host/settings.ts',
    'host/show-bytes.ts',
  ]);
  const modules = files.flatMap((file) =>
    importsOf(file).flatMap(({ module, typeOnly }) => (module && !typeOnly ? [module] : [])),
  );
  const packages = new Set(modules.filter((name) => !name.startsWith('node:')));
  assert.deepEqual([...packages].toSorted(), ['better-sqlite3', 'better-sqlite3-node20']);
});

test('better-sqlite3 has one user, which chooses the version for this Node.js', () => {
  const users = [...sources.keys()].filter((path) =>
    importsOf(path).some(
      ({ module, typeOnly }) => !typeOnly && module?.startsWith('better-sqlite3'),
    ),
  );
  assert.deepEqual(users, ['sqlite/better-sqlite3.ts']);
  const tests = readdirSync(inCheckout('test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.m?[jt]s$/.test(path))
    .filter((path) =>
      /^import (?!type ).* from 'better-sqlite3/m.test(
        readFileSync(inCheckout(`test/${path}`), 'utf8'),
      ),
    );
  assert.deepEqual(tests, ['support/sqlite-prototypes.mjs']);
});

test('the bundle of exim-pipe holds better-sqlite3 and what that needs, and no other package', () => {
  const bundle = readFileSync(inCheckout('dist/exim-pipe.cjs'), 'utf8');
  const parts = [...bundle.matchAll(/^\/\/ (?<path>(?:src|node_modules)\/\S+)$/gm)].map(
    ({ groups }) => groups?.['path']?.split('/').slice(0, 2).join('/') ?? '',
  );
  assert.deepEqual([...new Set(parts)].toSorted(), [
    'node_modules/better-sqlite3',
    'node_modules/better-sqlite3-node20',
    'node_modules/bindings',
    'node_modules/file-uri-to-path',
    'src/bin',
    'src/host',
    'src/intake',
    'src/limits.ts',
    'src/mail',
    'src/spool',
    'src/sqlite',
  ]);
  assert.doesNotMatch(bundle, /undici|yargs|koffi|cli-progress/);
});

/** What opens connections, and who alone may use it; a client that is handed its connection says so. */
const openers: { what: string; pattern: RegExp; allowed: string[]; handed?: RegExp }[] = [
  {
    what: 'a TCP connection, or a lookup',
    pattern:
      /^import (?:type )?\{[^}]*\b(?:connect|createConnection)\b[^}]*\} from 'node:net'|\bnew Socket\(|from 'node:dns(?:\/promises)?'/m,
    // The other is given one by the process that started it.
    allowed: ['cli/queue/exim-runner.ts', 'host/net/connect-socket.ts'],
  },
  {
    what: 'a TLS connection',
    pattern: /^import \{[^}]*\bconnect\b[^}]*\} from 'node:tls'/m,
    allowed: ['host/net/secure-socket.ts'],
  },
  {
    what: "Node's HTTP client",
    pattern: /^import \{[^}]*\b(?:request|get|Agent)\b[^}]*\} from 'node:http'/m,
    allowed: ['host/net/web-proxy.ts', 'proxy/backends/appengine/call-api.ts'],
    handed: /\brequest\(\{[^]*?createConnection: \(\) => socket,/,
  },
  {
    what: 'another HTTP client',
    pattern:
      /^import (?!type\b)[^;]* from '(?:undici(?:\/[^']*)?|node:https|node:http2|nodemailer\/lib\/fetch|nodemailer\/lib\/smtp-pool|nodemailer\/lib\/smtp-transport)'|(?<![#.\w])fetch\(/m,
    allowed: ['host/net/http-pool.ts'],
    handed: /new Client\([^]*?connect: \(/,
  },
  {
    what: "nodemailer's SMTP client",
    pattern: /^import (?!type\b)[^;]* from 'nodemailer\/lib\/smtp-connection'/m,
    allowed: ['host/net/smtp-connection.ts'],
  },
  {
    what: 'our own of it',
    pattern: /\bnew SmtpConnection\(/,
    allowed: ['host/net/smtp-client.ts'],
    handed: /new SmtpConnection\(\{[^}]*?\bconnection: socket,/,
  },
  {
    what: 'a source of tokens that would fetch them by itself',
    pattern: /\bnew XOAuth2\(/,
    allowed: [],
  },
];

for (const { what, pattern, allowed, handed = /^/ } of openers) {
  test(`connections are opened by host/net/connect-socket.ts alone: ${what} has no other user`, () => {
    const users = [...sources].filter(([, text]) => pattern.test(text));
    assert.deepEqual(users.map(([path]) => path).toSorted(), allowed.toSorted());
    for (const [path, text] of users) assert.match(text, handed, path);
  });
}

test('a certificate is verified wherever there is TLS, whatever NODE_TLS_REJECT_UNAUTHORIZED says', () => {
  for (const path of ['host/net/secure-socket.ts', 'host/net/smtp-client.ts']) {
    assert.match(sources.get(path) ?? '', /rejectUnauthorized: true/, path);
  }
  const careless = [...sources].filter(([, text]) => text.includes('rejectUnauthorized: false'));
  assert.deepEqual(careless, []);
});

test('every opening of a file of SQLite begins with the question whether root was given up (law 14)', () => {
  const opening = [...sources].filter(([, text]) =>
    text.replaceAll("new Database(':memory:')", '').includes('new Database('),
  );
  assert.deepEqual(
    opening.map(([path]) => path),
    ['sqlite/open-database.ts'],
  );
  const text = sources.get('sqlite/open-database.ts') ?? '';
  assert.match(text, /\nfunction open\([^]*?\{\n {2}requireRootGivenUp\(dirname\(file\)\);\n/);
  assert.equal(text.split('new Database(').length, 2);
  assert.equal(text.split(/\bload\(file, readonly\)/).length, 2);
  const changers = [...sources].filter(([, each]) => /--reuid|\bset[ug]id\(/.test(each));
  assert.deepEqual(
    changers.map(([path]) => path),
    ['host/give-up-root.ts'],
  );
});

test('what stays root opens no file of SQLite: Exim’s commands, and what runs Exim for a return (law 14)', () => {
  for (const path of ['cli/exim/command.ts', 'cli/queue/serve-exim.ts']) {
    const files = [...closure(path)];
    const opening = files.filter((file) => /^spool\/|^host\/open-database\.ts$/.test(file));
    assert.deepEqual(opening, [], path);
  }
});
