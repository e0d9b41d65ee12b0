import { thisMachine } from '../../../src/host/machine.ts';
import { limits } from '../../../src/limits.ts';
import { jmapBackend } from '../../../src/proxy/backends/jmap/jmap-backend.ts';
import { conformance } from '../../support/conformance.ts';
import { ScriptedJmap } from '../../support/scripted-jmap.ts';

const abilities = ['refuse', 'loseAnswers', 'hang', 'vanish', 'refuseKey', 'keepBytes'] as const;

/** Looks a message up again without a wait. */
const impatient = {
  ...thisMachine,
  timer: (ms: number, ...rest: [() => void, { idle?: boolean }?]) =>
    thisMachine.timer(ms === limits.jmapLookMs ? 0 : ms, ...rest),
};

conformance('jmap', abilities, async (t) => {
  const jmap = await ScriptedJmap.start(t);
  jmap.maxSizeUpload = 30 * 1024 * 1024;
  return {
    backend: jmapBackend(jmap.account, { ca: jmap.server.ca, machine: impatient }),
    options: jmap.options,
    environment: jmap.environment,
    arrived: () => jmap.submitted.map(({ recipients }) => recipients),
    bytes: { arrived: () => jmap.submitted.map(({ bytes }) => bytes), largest: jmap.maxSizeUpload },
    refuse: (refused) => {
      jmap.verdict = ({ recipients }) => {
        const invalidRecipients = recipients.filter((recipient) => recipient in refused);
        if (invalidRecipients.length === 0) return undefined;
        const description = `not valid: ${invalidRecipients.join()}`;
        return { type: 'invalidRecipients', invalidRecipients, description };
      };
    },
    loseAnswers: () => {
      jmap.after['EmailSubmission/set'] = () => 'cut';
      jmap.before['EmailSubmission/query'] = () => ({ status: 503 });
    },
    hang: async () =>
      new Promise((resolve) => {
        jmap.after['EmailSubmission/set'] = () => {
          resolve();
          return 'hang';
        };
      }),
    refuseKey: () => {
      jmap.token = 'another';
    },
    vanish: () => jmap.server.close(),
  };
});
