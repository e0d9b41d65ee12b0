import { version } from '../host/version.ts';
import type { Metric } from './metric.ts';

/** Which version of this program runs, and on which Node.js. */
export function buildMetric(): Metric {
  const labels = { version: version(), node: process.versions.node };
  return {
    name: 'build',
    type: 'info',
    help: 'The version of appengine-mailer, and of Node.js.',
    values: [{ labels, value: 1 }],
  };
}
