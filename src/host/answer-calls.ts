import { parentPort, workerData } from 'node:worker_threads';
import type { ThreadAnswer } from './thread.ts';

/** The other side of `Thread`: the thread calls the one of these functions that it was started for. */
export function answerCalls(functions: Record<string, (...args: never[]) => unknown>): void {
  const called = functions[workerData as string] as (...args: unknown[]) => unknown;
  const answer = async (args: unknown[]): Promise<ThreadAnswer> => {
    try {
      return { result: await called(...args) };
    } catch (error) {
      return { error };
    }
  };
  parentPort?.on('message', (args: unknown[]) => {
    void answer(args).then((said) => parentPort?.postMessage(said, []));
  });
}
