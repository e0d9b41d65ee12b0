import { mkdirSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { Spool } from '../../src/spool/spool.ts';
import { appengineMailer, type Ended } from './program.ts';
import type { Road } from './road.ts';

/** Makes the folder of a spool, and an empty spool in it. */
export function makeSpool(folder: string): string {
  mkdirSync(folder);
  new Spool(folder, 'drain').close();
  return folder;
}

/** Runs `appengine-mailer queue ARGS…` on a spool to its end. */
export async function queueOf(
  t: TestContext,
  spool: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  return appengineMailer(t, ['queue', ...args, '--spool', spool], { input: '', env }).ended;
}

/** Drains a spool to the proxy of a road. */
export async function drainOnce(
  road: Road,
  spool: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  return appengineMailer(road.t, ['drain', '--once', '--spool', spool], {
    env: { GMAIL_PROXY_URL: `http://${road.address}/`, GMAIL_SECRET_KEY: road.key, ...env },
    input: '',
  }).ended;
}

/** Runs a command on a queue, which must succeed, and returns what it prints. */
export async function done(
  t: TestContext,
  spool: string,
  ...args: readonly string[]
): Promise<string> {
  const { code, stdout, stderr } = await queueOf(t, spool, args);
  if (code !== 0) throw new Error(`queue ${args.join(' ')}: ${code} ${stderr}${String(stdout)}`);
  return stdout.toString();
}
