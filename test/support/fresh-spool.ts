import type { TestContext } from 'node:test';
import { Spool, type Access } from '../../src/spool/spool.ts';
import { scratch } from './scratch.ts';

/** A new spool in a folder of the test's own, closed after the test. */
export function freshSpool(t: TestContext, access: Access = 'drain'): Spool {
  const spool = new Spool(scratch(t), access);
  t.after(() => spool.close());
  return spool;
}
