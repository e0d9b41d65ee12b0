import type { CommandModule, InferredOptionTypes } from 'yargs';
import type { proxyOptions } from '../../proxy/command.ts';
import { jsonOption, requireNoFault, tellFindings } from './tell-findings.ts';

type ProxyArguments = InferredOptionTypes<typeof proxyOptions>;
type Arguments = ProxyArguments & InferredOptionTypes<{ json: typeof jsonOption }>;

/** `appengine-mailer proxy check`: what the proxy needs, with its options and settings; exits with 1 for a fault. */
export const proxyCheckCommand: CommandModule<ProxyArguments, Arguments> = {
  command: 'check',
  describe: 'Check keys, ledger and backend of the proxy without sending, and say what to do',
  builder: (yargs) => yargs.option('json', jsonOption),
  handler: async (argv) => {
    const { checkProxy } = await import('../../proxy/check/check-proxy.ts');
    requireNoFault(await tellFindings(checkProxy(argv), argv.json));
  },
};
