import type { Rig } from './conformance.ts';
import { lateAnswer } from './late-answer.ts';
import type { ProviderReply, ScriptedProvider } from './scripted-provider.ts';

/** A scripted provider that answers each message by its script. */
interface Scripted<Message> {
  server: ScriptedProvider;
  script: (message: Message) => ProviderReply | Promise<ProviderReply>;
}

/** What such a provider can do in the conformance suite, whatever its API; `taken` is its answer that it took a message. */
export function providerAbilities<Message>(provider: Scripted<Message>, taken: ProviderReply) {
  return {
    loseAnswers: () => {
      provider.script = () => 'cut';
    },
    answerLate: () => {
      const { reply, ...late } = lateAnswer(taken);
      provider.script = reply;
      return late;
    },
    hang: async () =>
      new Promise<void>((resolve) => {
        provider.script = () => {
          resolve();
          return 'hang';
        };
      }),
    vanish: () => provider.server.close(),
  } satisfies Partial<Rig>;
}
