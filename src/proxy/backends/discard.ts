import { statuses } from '../../mail/enhanced-status.ts';
import type { Backend } from '../backend.ts';

/** Takes everything and keeps nothing: for tests and measurements. */
export const discardBackend: Backend = ({ recipients }) =>
  Promise.resolve(
    recipients.map((recipient) => ({ recipient, status: statuses.sent, reason: 'discarded' })),
  );
