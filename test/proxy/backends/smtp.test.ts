import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { conformance } from '../../support/conformance.ts';
import { ScriptedSmtp } from '../../support/scripted-smtp.ts';

conformance(
  'smtp',
  ['refuse', 'defer', 'loseAnswers', 'hang', 'vanish', 'refuseKey'],
  async (t) => {
    const smtp = await ScriptedSmtp.start(t);
    return {
      backend: smtpBackend(smtp.relay()),
      options: ['--backend', 'smtp', '--smtp-host', '127.0.0.1', '--smtp-security', 'none'].concat(
        '--smtp-port',
        String(smtp.port),
      ),
      arrived: () => smtp.messages.map(({ envelope }) => envelope.slice(1).map(address)),
      refuse: (recipients) => {
        smtp.script['RCPT'] = (line) => {
          const how = recipients[address(line)];
          if (how === undefined) return '250 2.1.5 Ok';
          return how === 'for good' ? `550 5.1.1 no ${line}` : `450 4.2.0 busy ${line}`;
        };
      },
      loseAnswers: () => {
        smtp.script['message'] = 'cut';
      },
      hang: async () =>
        new Promise((resolve) => {
          smtp.script['message'] = () => {
            resolve();
            return 'hang';
          };
        }),
      refuseKey: () => {
        smtp.script['MAIL'] = '535 5.7.8 Username and Password not accepted';
      },
      vanish: () => {
        smtp.script['greeting'] = '421 4.3.2 closed for the day';
      },
    };
  },
);

function address(line: string): string {
  return /<(.*)>/.exec(line)?.[1] ?? '';
}
