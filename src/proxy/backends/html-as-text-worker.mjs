import { parentPort, workerData } from 'node:worker_threads';
import { htmlToText } from 'html-to-text';

// The thread of htmlAsText. In JavaScript: a thread has no loader of TypeScript, which tests run from.
const { html, maxDepth } = workerData;
let text = '';
try {
  text = htmlToText(html, { limits: { maxDepth } });
} catch {
  // It has faults of its own, with some HTML.
}
parentPort?.postMessage(text, []);
