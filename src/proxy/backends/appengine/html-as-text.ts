import { Thread } from '../../../host/thread.ts';
import { TimeUpError } from '../../../host/within-time.ts';
import { limits } from '../../../limits.ts';

/** The beginning of HTML as text, for mail programs that show no HTML; empty when that takes too much time or memory. */
export async function htmlAsText(html: string): Promise<string> {
  try {
    return await thread.call(html.slice(0, limits.htmlTextChars));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof TimeUpError || code === 'ERR_WORKER_OUT_OF_MEMORY') return '';
    throw error;
  }
}

const thread = new Thread<[html: string], string>({
  file: new URL('appengine-worker.mjs', import.meta.url),
  name: 'htmlText',
  ms: limits.htmlTextMs,
  heapMiB: limits.htmlTextHeapMiB,
});
