import { mailgunBackend } from '../../../src/proxy/backends/mailgun/mailgun-backend.ts';
import { conformance } from '../../support/conformance.ts';
import { providerAbilities } from '../../support/provider-abilities.ts';
import { QUEUED, ScriptedMailgun } from '../../support/scripted-mailgun.ts';

const abilities = [
  'loseAnswers',
  'answerLate',
  'hang',
  'vanish',
  'refuseKey',
  'keepBytes',
] as const;

conformance('mailgun', abilities, async (t) => {
  const mailgun = await ScriptedMailgun.start(t);
  return {
    backend: mailgunBackend(mailgun.account, { ca: mailgun.server.ca }),
    options: mailgun.options,
    environment: mailgun.environment,
    arrived: () => mailgun.messages.map(({ recipients }) => recipients),
    bytes: { arrived: () => mailgun.messages.map(({ bytes }) => bytes), largest: 25 * 1024 * 1024 },
    ...providerAbilities(mailgun, QUEUED),
    refuseKey: () => {
      mailgun.apiKey = 'another';
    },
  };
});
