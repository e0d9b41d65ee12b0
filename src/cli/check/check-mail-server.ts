import { fault, notChecked, ok, type Finding } from '../../host/finding.ts';
import { runCommand } from '../../host/run-command.ts';
import { eximSocket } from '../exim/ask-exim.ts';
import { eximStatus } from '../exim/exim-status.ts';
import { mailServer } from '../mail-server.ts';

/** Whether the mail server of this machine hands its mail to the queue. */
export function checkMailServer(): Finding {
  const server = mailServer();
  switch (server?.name) {
    case 'Exim':
      return checkExim();
    case 'Postfix':
      return checkPostfix();
    case 'OpenSMTPD':
      return notChecked('opensmtpd', `whether OpenSMTPD hands its mail to the queue; see ${PAGE}`);
    case undefined:
    default:
      return fault(
        'server',
        'this machine has no mail server that is known here: Exim, Postfix or OpenSMTPD',
        'apt install exim4',
      );
  }
}

function checkExim(): Finding {
  const { way, text } = eximStatus();
  return way ? ok('exim', text) : fault('exim', text, 'appengine-mailer exim enable (as root)');
}

/** By what Postfix does with mail for all hosts that no table of the administrator names. */
function checkPostfix(): Finding {
  const names = ['default_transport', 'relay_transport', 'transport_maps'];
  const { code, stdout, stderr } = runCommand('/usr/sbin/postconf', '-h', ...names);
  if (code !== 0) return notChecked('postfix', `postconf says: ${stderr.trim()}`);
  const [transport = '', relay = '', tables = ''] = stdout.split('\n');
  const queue = `:unix:${eximSocket()}`;
  if (transport.endsWith(queue)) {
    return ok('postfix', `Postfix hands mail for other hosts to the queue (${transport})`);
  }
  if (relay.endsWith(queue)) {
    return ok('postfix', `Postfix hands mail for its relay_domains to the queue (${relay})`);
  }
  const text = `default_transport of Postfix is ${transport}, which is not the queue`;
  return tables === ''
    ? fault('postfix', text, `see ${PAGE}`)
    : notChecked('postfix', `${text}; whether ${tables} name it is not known`);
}

const PAGE = 'appengine-mailer-postfix(7)';
