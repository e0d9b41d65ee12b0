import { command } from '../../host/command.ts';
import { proxyOptions } from '../../proxy/command.ts';
import { jsonLinesOption } from '../json-options.ts';
import { requireNoFault, tellFindings } from './tell-findings.ts';

/** `appengine-mailer proxy check`: what the proxy needs, with its options and settings; exits with 1 for a fault. */
export const proxyCheckCommand = command({
  name: 'check',
  describe: 'Check keys, ledger and backend of the proxy without sending, and say what to do',
  settings: proxyOptions,
  options: { json: jsonLinesOption },
  run: async ({ json, ...options }, origins) => {
    const { checkProxy } = await import('../../proxy/check/check-proxy.ts');
    requireNoFault(await tellFindings(checkProxy(options, origins), json));
  },
});
