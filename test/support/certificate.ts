import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { run } from './program.ts';

/** Makes a self-signed certificate for 127.0.0.1, ::1 and a name in the folder; `file` is its PEM file. */
export async function certificate(
  t: TestContext,
  folder: string,
  name = 'localhost',
): Promise<{ key: Buffer; cert: Buffer; file: string }> {
  const [key, file] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj';
  const names = ['-addext', `subjectAltName=DNS:${name},IP:127.0.0.1,IP:::1`];
  const files = ['-keyout', key, '-out', file];
  const args = [...words.split(' '), `/CN=${name}`, ...names, ...files];
  const { code, stderr } = await run(t, 'openssl', args);
  if (code !== 0) throw new Error(`openssl failed: ${stderr}`);
  return { key: readFileSync(key), cert: readFileSync(file), file };
}
