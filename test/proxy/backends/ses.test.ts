import { sesBackend } from '../../../src/proxy/backends/ses/ses-backend.ts';
import { conformance } from '../../support/conformance.ts';
import { ScriptedSes } from '../../support/scripted-ses.ts';

conformance('ses', ['loseAnswers', 'hang', 'vanish'], async (t) => {
  const ses = await ScriptedSes.start(t);
  return {
    backend: sesBackend(ses.account, { ca: ses.server.ca, defaultSender: 'reports@example.org' }),
    options: [...ses.options, '--default-sender', 'reports@example.org'],
    environment: ses.environment,
    arrived: () => ses.emails.map(({ recipients }) => recipients),
    loseAnswers: () => {
      ses.script = () => 'cut';
    },
    hang: async () =>
      new Promise((resolve) => {
        ses.script = () => {
          resolve();
          return 'hang';
        };
      }),
    vanish: () => ses.server.close(),
  };
});
