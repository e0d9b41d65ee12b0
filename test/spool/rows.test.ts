import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import type { ColumnDefinition } from 'better-sqlite3';
import { SyntaxKind, type Node } from 'typescript/unstable/ast';
import { API, TypeFlags, type Type } from 'typescript/unstable/sync';
import { enqueue } from '../../src/spool/enqueue.ts';
import {
  confirmExported,
  readExported,
  takeBack,
  takeOut,
  undoTakeOut,
} from '../../src/spool/export.ts';
import { importMessages } from '../../src/spool/import.ts';
import { setLifetime } from '../../src/spool/lifetime.ts';
import { latestNumber } from '../../src/spool/list.ts';
import { recordReturnRefused } from '../../src/spool/operate.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { requireSoundTree } from '../../src/spool/body.ts';
import { repeatId } from '../../src/spool/repeat-id.ts';
import { beginTransfer, exportsInto } from '../../src/spool/transfer.ts';
import { waitingSince } from '../../src/spool/stats.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { inCheckout } from '../support/program.ts';
import { NOW, spoolOperations } from '../support/spool-operations.ts';

// All tables are STRICT: a column has values of its type or NULL. So it is enough that `spool.sql<Row>(…)` names the
// columns that its statement has, with their types: nothing is left to check when the program runs.

/** What a property of a row may be, by its type in TypeScript. */
type Kind = 'INTEGER' | 'TEXT' | 'BLOB' | 'another type';

/** The rows that statements are said to give, by file and line of the call of `sql`. */
type Sites = Map<string, Map<string, Kind>>;

const files = readdirSync(inCheckout('src/spool')).filter((name) => name.endsWith('.ts'));

function declaredRows(t: TestContext): Sites {
  const api = new API({ cwd: inCheckout('.') });
  t.after(() => api.close());
  const [project] = api.updateSnapshot({ openProjects: ['tsconfig.json'] }).getProjects();
  assert.ok(project);
  const { program, checker } = project;
  const kindOf = (type: Type | undefined): Kind => {
    const parts = type?.isUnionType() ? type.getTypes() : [type];
    const kinds = parts.flatMap((part): Kind[] => {
      if (!part) return ['another type'];
      if (part.flags & TypeFlags.Null) return [];
      if (part.flags & TypeFlags.NumberLike) return ['INTEGER'];
      if (part.flags & TypeFlags.StringLike) return ['TEXT'];
      return [/^Buffer\b/.test(checker.typeToString(part)) ? 'BLOB' : 'another type'];
    });
    const [kind = 'another type', ...others] = new Set(kinds);
    return others.length === 0 ? kind : 'another type';
  };
  const sites: Sites = new Map();
  for (const name of files) {
    const file = program.getSourceFile(`src/spool/${name}`);
    assert.ok(file, name);
    const visit = (node: Node): void => {
      const call = node as Partial<{
        expression: Node & { name?: Node & { text: string } };
        typeArguments: Node[];
      }>;
      const [row] = call.typeArguments ?? [];
      if (node.kind === SyntaxKind.CallExpression && row && call.expression?.name?.text === 'sql') {
        const type = checker.getTypeFromTypeNode(row as never);
        const columns = type ? checker.getPropertiesOfType(type) : [];
        const line = file.text.slice(0, call.expression.name.end).split('\n').length;
        const kinds = columns.map((each): [string, Kind] => [
          each.name,
          kindOf(checker.getTypeOfSymbol(each)),
        ]);
        sites.set(`${name}:${line}`, new Map(kinds));
      }
      node.forEachChild(visit);
    };
    visit(file);
  }
  return sites;
}

/** The columns of the statements that a run prepares, by file and line of the call of `sql`. */
function columnsOf(spool: Spool, run: () => void): Map<string, ColumnDefinition[]> {
  const found = new Map<string, ColumnDefinition[]>();
  spool.sql = (text) => {
    const statement = spool.db.prepare(text);
    // The second line of the stack is the caller.
    const [, site] =
      /\/src\/spool\/(\S+?:\d+):\d+\)?$/.exec(new Error().stack?.split('\n')[2] ?? '') ?? [];
    if (site && statement.reader) found.set(site, statement.columns());
    return statement as ReturnType<typeof spool.sql<never>>;
  };
  run();
  return found;
}

function moveBetween(spool: Spool, other: Spool): void {
  const [first = '', second = ''] = ['one', 'two'].map(
    (eximId) => enqueue(spool, handOver({ eximId }), NOW).id,
  );
  const { number } = beginTransfer(spool, 'export', 'a', 'a'.repeat(32));
  takeOut(spool, number, [first, second]);
  undoTakeOut(spool, second, NOW);
  const message = readExported(spool, first, NOW);
  const imported = { ...message, bytes: Buffer.concat([...message.bytes]) };
  const { number: there } = beginTransfer(other, 'import', 'a', 'a'.repeat(32));
  importMessages(other, there, [imported], { now: NOW, transitMs: 0 });
  const { number: back } = beginTransfer(spool, 'import', 'b', 'b'.repeat(32));
  importMessages(spool, back, [imported], { now: NOW, transitMs: 0 });
  confirmExported(spool, number, [message], NOW);
  takeOut(spool, number, [second]);
  takeBack(spool, number, NOW);
  exportsInto(spool, 'a');
}

test('each statement of the spool has the columns, of the types, that the code expects of its rows', (t) => {
  const declared = declaredRows(t);
  const spools = [freshSpool(t), freshSpool(t)] as const;
  const columns = new Map<string, ColumnDefinition[]>();
  for (const [name, run] of Object.entries(spoolOperations)) {
    const spool = freshSpool(t);
    const { id } = enqueue(spool, handOver(), NOW);
    for (const [site, found] of columnsOf(spool, () => run(spool, id))) columns.set(site, found);
    assert.ok(columns.size > 0, name);
  }
  const latestSeq = spools[0].db.prepare<[], number>('SELECT max(seq) FROM message').pluck();
  const others = columnsOf(spools[0], () => {
    for (const [site, found] of columnsOf(spools[1], () => moveBetween(spools[0], spools[1])))
      columns.set(site, found);
    setLifetime(spools[0], 1);
    latestNumber(spools[0]);
    repeatId(spools[0], handOver(), NOW);
    enqueue(spools[0], handOver({ eximId: 'three' }), NOW);
    requireSoundTree(spools[0], latestSeq.get() ?? 0);
    recordReturnRefused(spools[0], 'none', 'why');
    waitingSince(spools[0]);
  });
  for (const [site, found] of others) columns.set(site, found);

  assert.ok(declared.size > 30, `${declared.size} statements give rows`);
  assert.deepEqual(
    [...declared.keys()].filter((site) => !columns.has(site)),
    [],
    'not run',
  );
  for (const [site, row] of declared) {
    const found = columns.get(site) ?? [];
    assert.deepEqual(
      found.map(({ name }) => name).toSorted(),
      [...row.keys()].toSorted(),
      `src/spool/${site}`,
    );
    for (const { name, type } of found) {
      // Of an expression SQLite does not tell the type.
      if (type !== null) assert.equal(row.get(name), type, `src/spool/${site}: ${name}`);
    }
  }
});
