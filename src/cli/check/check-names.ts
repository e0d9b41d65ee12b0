import { machineNames, nameFault } from '../../host/machine-names.ts';
import { fault, ok, type Finding } from '../../host/finding.ts';

/** Whether reports to senders come from a name that others know. */
export async function checkNames(): Promise<Finding> {
  const names = await machineNames();
  const wrong = nameFault(names, 'appengine-mailer');
  if (wrong) return fault('names', wrong.text, wrong.todo);
  return ok('names', `this is ${names.host}, and its addresses are @${names.mail}`);
}
