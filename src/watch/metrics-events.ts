import type { JournalEvent } from '../host/journal.ts';
import { priorities } from '../host/systemd/journal-sink.ts';
import { limits } from '../limits.ts';

/** The events of a program that serves metrics, with the ids that they have in its journal. */
export function metricsEvents(ids: { metricsServed: string; metricsUnavailable: string }) {
  return {
    metricsServed: {
      id: ids.metricsServed,
      priority: priorities.info,
      entry: (address: string) => ({ text: `metrics are served at http://${address}/metrics` }),
      subject: 'Metrics are served',
      manual: MANUAL,
      help: 'The metrics of this program can be read at the address of --metrics. Nothing has to be done.',
    },
    metricsUnavailable: {
      id: ids.metricsUnavailable,
      priority: priorities.warning,
      entry: (address: string, text: string) => ({
        text:
          `metrics cannot be served at ${address}: ${text}; this is tried again every ` +
          `${limits.lookMs / 1000} seconds, and mail goes on`,
      }),
      subject: 'Metrics cannot be served',
      manual: MANUAL,
      help: `
      This program cannot listen at the address of --metrics. Mail goes on without metrics, and the address
      is tried again every 30 seconds. End the program that has the port (ss -ltnp), or choose another one.`,
    },
  } satisfies Record<string, JournalEvent>;
}

const MANUAL = 'appengine-mailer-metrics(7)';
