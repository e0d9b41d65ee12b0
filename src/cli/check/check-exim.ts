import { eximStatus } from '../exim/status.ts';
import { fault, ok, type Finding } from '../../host/finding.ts';

/** Whether Exim hands its mail to the queue. */
export function checkExim(): Finding {
  const { enabled, text } = eximStatus();
  return enabled ? ok('exim', text) : fault('exim', text, 'appengine-mailer exim enable (as root)');
}
