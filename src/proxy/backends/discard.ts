import { statuses } from '../../mail/enhanced-status.ts';
import { unlimited } from './backend.ts';

/** Takes everything and keeps nothing: for tests and measurements. */
export const discardBackend = unlimited(async ({ recipients }) =>
  Promise.resolve(
    recipients.map((recipient) => ({ recipient, status: statuses.sent, reason: 'discarded' })),
  ),
);
