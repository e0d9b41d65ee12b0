import { addressText } from '../mail/address-list.ts';
import type { ReportedMessage } from '../mail/delivery-report.ts';

/** A message, as the journal names it. */
export interface JournalMail {
  id: string;
  eximId: string;
  sender: string;
}

/** A message, as the journal says that it was reported to its sender. */
export interface ReportedMail extends Pick<ReportedMessage, 'id' | 'eximId' | 'kind'> {
  recipients: readonly { address: string }[];
}

/** The fields of a message in the journal. */
export function mailFields({ id, eximId }: JournalMail) {
  return { MAIL_ID: id, EXIM_ID: eximId };
}

/** The recipients that a report is about. */
export function recipientsOf(messages: readonly ReportedMail[]): string[] {
  return messages.flatMap(({ recipients }) => recipients.map(({ address }) => address));
}

/** The kinds of what is reported, each once. */
export function kindsOf(messages: readonly ReportedMail[]): ReportedMail['kind'][] {
  return [...new Set(messages.map(({ kind }) => kind))];
}

/** The fields of messages that a report is about. */
export function reportFields(messages: readonly ReportedMail[]) {
  return {
    MAIL_ID: messages.map(({ id }) => id),
    EXIM_ID: messages.map(({ eximId }) => eximId),
    MAIL_RECIPIENT: recipientsOf(messages),
  };
}

/** A message in a sentence. */
export function nameOf({ id, eximId, sender }: JournalMail): string {
  return `${id} (Exim ${eximId}) from ${addressText(sender)}`;
}
