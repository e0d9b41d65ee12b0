import { sesBackend } from '../../../src/proxy/backends/ses/ses-backend.ts';
import { conformance } from '../../support/conformance.ts';
import { providerAbilities } from '../../support/provider-abilities.ts';
import { ScriptedSes, TAKEN } from '../../support/scripted-ses.ts';

const abilities = [
  'loseAnswers',
  'answerLate',
  'hang',
  'vanish',
  'refuseKey',
  'keepBytes',
] as const;

conformance('ses', abilities, async (t) => {
  const ses = await ScriptedSes.start(t);
  const { ca } = ses.server;
  return {
    backend: sesBackend(ses.account, { ca, defaultSender: 'reports@example.org' }),
    options: [...ses.options, '--default-sender', 'reports@example.org'],
    environment: ses.environment,
    arrived: () => ses.emails.map(({ recipients }) => recipients),
    bytes: { arrived: () => ses.emails.map(({ bytes }) => bytes), largest: 30 * 1024 * 1024 },
    ...providerAbilities(ses, TAKEN),
    refuseKey: () => {
      ses.keys = { ...ses.keys, secret: 'another' };
    },
  };
});
