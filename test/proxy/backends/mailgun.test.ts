import { mailgunBackend } from '../../../src/proxy/backends/mailgun/mailgun-backend.ts';
import { conformance } from '../../support/conformance.ts';
import { lateAnswer } from '../../support/late-answer.ts';
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
    loseAnswers: () => {
      mailgun.script = () => 'cut';
    },
    answerLate: () => {
      const { reply, ...late } = lateAnswer(QUEUED);
      mailgun.script = reply;
      return late;
    },
    hang: async () =>
      new Promise((resolve) => {
        mailgun.script = () => {
          resolve();
          return 'hang';
        };
      }),
    refuseKey: () => {
      mailgun.apiKey = 'another';
    },
    vanish: () => mailgun.server.close(),
  };
});
