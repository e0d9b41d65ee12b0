import { timeLimit } from './figures.ts';

/** The promise, or an error that says for what was waited in vain: a test that only hangs tells nothing. */
export async function inTime<T>(
  promise: Promise<T>,
  text: () => string,
  withinMs = 300_000,
): Promise<T> {
  const ms = timeLimit(withinMs);
  let patience: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    patience = setTimeout(() => reject(new Error(`not within ${ms / 1000} s: ${text()}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(patience);
  }
}
