import type { TestContext } from 'node:test';

/** Runs the action with what the helpers of tests want of a test: that they can clean up after it. */
export async function inBench<T>(action: (t: TestContext) => Promise<T>): Promise<T> {
  const hooks: (() => unknown)[] = [];
  const context = {
    passed: true,
    after: (hook: () => unknown) => hooks.push(hook),
    diagnostic: () => {},
  };
  try {
    return await action(context as unknown as TestContext);
  } finally {
    for (const hook of hooks) await hook();
  }
}
