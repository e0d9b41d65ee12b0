import { parentPort, workerData } from 'node:worker_threads';
import { htmlToText } from 'html-to-text';

// The thread of htmlAsText. In JavaScript: a thread has no loader of TypeScript, which tests run from.
const { html, maxDepth } = workerData;
parentPort?.postMessage(htmlToText(html, { limits: { maxDepth } }), []);
