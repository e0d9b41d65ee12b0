import { statuses } from '../../mail/enhanced-status.ts';
import { unlimited } from './backend.ts';

/** Takes all mail and throws it away: for tests and measurements. */
export const discardBackend = unlimited(async ({ recipients }) =>
  Promise.resolve(
    recipients.map((recipient) => ({ recipient, status: statuses.sent, reason: 'discarded' })),
  ),
);
