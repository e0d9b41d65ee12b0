import { isMainThread } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

// `--import tsx` works for the main thread alone.
if (!isMainThread) register();
