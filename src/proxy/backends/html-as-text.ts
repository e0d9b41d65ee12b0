import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { limits } from '../../mail/limits.ts';

/**
 * The beginning of HTML as text, for readers that show no HTML; empty when that takes too much. In a thread
 * of its own, since some HTML takes minutes, in which nobody else would be answered; one after the other, lest
 * they take each other's time. Throws what the signal aborts with.
 */
export async function htmlAsText(html: string, giveUp: AbortSignal): Promise<string> {
  const text = last.then(async () => convert(html.slice(0, limits.htmlTextChars), giveUp));
  last = text.catch(() => {});
  return text;
}

let last: Promise<unknown> = Promise.resolve();

async function convert(html: string, giveUp: AbortSignal): Promise<string> {
  giveUp.throwIfAborted();
  const worker = new Worker(new URL('html-as-text-worker.mjs', import.meta.url), {
    workerData: { html, maxDepth: limits.htmlTextDepth },
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: limits.htmlTextHeapMiB },
  });
  worker.on('error', () => {}); // Also after the time is up, when nobody waits for it.
  const tooLong = AbortSignal.timeout(limits.htmlTextMs);
  try {
    const signal = AbortSignal.any([giveUp, tooLong]);
    const [text] = (await once(worker, 'message', { signal })) as [string];
    return text;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (tooLong.aborted || code === 'ERR_WORKER_OUT_OF_MEMORY') return '';
    throw error;
  } finally {
    await worker.terminate();
  }
}
