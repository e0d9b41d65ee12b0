import Database from '../../src/sqlite/better-sqlite3.ts';

/** A statement, and how SQLite runs it: the lines of EXPLAIN QUERY PLAN. */
export interface Plan {
  sql: string;
  steps: string[];
}

/** How SQLite runs every statement that the action prepares, of a database that is there after it. */
export async function plansOf(file: string, action: () => unknown): Promise<Plan[]> {
  const statements = new Set<string>();
  const prepare = Reflect.get(Database.prototype, 'prepare');
  Database.prototype.prepare = function (sql: string) {
    statements.add(sql);
    return Reflect.apply(prepare, this, [sql]) as never;
  };
  try {
    await action();
  } finally {
    Database.prototype.prepare = prepare;
  }
  const db = new Database(file, { readonly: true });
  try {
    return [...statements].map((sql) => {
      const names = [...sql.matchAll(/:(\w+)/g)].map(([, name]) => [name ?? '', 1]);
      const values = names.length > 0 ? [Object.fromEntries(names)] : (sql.match(/\?/g) ?? []);
      const explain = db.prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`);
      return { sql, steps: explain.all(...values).map(({ detail }) => detail) };
    });
  } finally {
    db.close();
  }
}
