import { addressText } from '../mail/address-list.ts';

/** A message, as the journal names it. */
export interface JournalMail {
  id: string;
  eximId: string;
  sender: string;
}

/** A message of which its sender is told. */
export interface ToldMail extends Omit<JournalMail, 'sender'> {
  kind: 'failure' | 'delay';
  recipients: readonly { address: string }[];
}

/** The fields of a message in the journal. */
export function mailFields({ id, eximId }: JournalMail) {
  return { MAIL_ID: id, EXIM_ID: eximId };
}

/** The recipients that somebody is told of. */
export function toldOf(messages: readonly ToldMail[]): string[] {
  return messages.flatMap(({ recipients }) => recipients.map(({ address }) => address));
}

/** What somebody is told, each once. */
export function kindsOf(messages: readonly ToldMail[]): ToldMail['kind'][] {
  return [...new Set(messages.map(({ kind }) => kind))];
}

/** The fields of messages that somebody is told of. */
export function toldFields(messages: readonly ToldMail[]) {
  return {
    MAIL_ID: messages.map(({ id }) => id),
    EXIM_ID: messages.map(({ eximId }) => eximId),
    MAIL_RECIPIENT: toldOf(messages),
  };
}

/** A message in a sentence. */
export function nameOf({ id, eximId, sender }: JournalMail): string {
  return `${id} (Exim ${eximId}) from ${addressText(sender)}`;
}
