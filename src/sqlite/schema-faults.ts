import Database from './better-sqlite3.ts';
import { limits } from '../limits.ts';
import { isRefusedBySchema } from './is-corruption.ts';
import { connectToRead, requireKnown, schemaOf, type Format } from './open-database.ts';

/** What a file of ours is called, and has in it. */
type Schema = Pick<Format, 'name' | 'migrations'>;

/**
 * Whether tables, indexes, triggers and views are those of the schema whose number the file has: a sentence where they
 * are not. Throws DatabaseUnusableError for a newer schema.
 */
export function schemaFaults(db: Database.Database, file: string, schema: Schema): string[] {
  const found = schemaOf(db);
  const fresh = new Database(':memory:');
  try {
    for (const migration of schema.migrations.slice(0, found)) fresh.exec(migration);
    const [are, should] = [objectsOf(db), objectsOf(fresh)];
    const others = [...are.keys(), ...should.keys()].filter(
      (key) => are.get(key) !== should.get(key),
    );
    if (found <= schema.migrations.length && others.length === 0) return [];
    // A newer version has other tables than we know.
    if (others.length > 0) requireKnown(db, file, schema);
    const named = [...new Set(others)].slice(0, limits.namedFaults).join(', ');
    return [`it is not what its schema number ${found} means${named && ` (${named})`}`];
  } finally {
    fresh.close();
  }
}

/**
 * What others have changed in the schema of a file, where SQLite's error may come from that: an account that may write to the
 * file can add a trigger. Undefined for all other errors.
 */
export function foreignSchema(error: unknown, file: string, schema: Schema): string | undefined {
  if (!isRefusedBySchema(error)) return undefined;
  let db: Database.Database | undefined;
  try {
    db = connectToRead(file);
    return schemaFaults(db, file, schema)[0];
  } catch {
    return undefined; // There is more wrong with the file, and who opens it next tells that.
  } finally {
    db?.close();
  }
}

/** The text of each object, by its type and name. */
function objectsOf(db: Database.Database): Map<string, string> {
  const objects = db.prepare<[], { object: string; sql: string | null }>(
    `SELECT type || ' ' || name AS object, sql FROM sqlite_schema`,
  );
  return new Map(objects.all().map(({ object, sql }) => [object, sql ?? '']));
}
