import { limits } from '../limits.ts';
import { printable } from '../mail/printable.ts';
import { isRefusedBySchema } from '../sqlite/is-corruption.ts';

/** Why a message was not stored, in one line for the log of the mail server that handed it over. */
export function failureText(error: unknown): string {
  const { message = String(error) } = error as Partial<Error>;
  // Somebody may have changed the schema of the spool, by a trigger.
  const todo = isRefusedBySchema(error) ? '. To do: appengine-mailer queue fsck --check' : '';
  const sentence = printable(`${message.replace(/\s+/g, ' ')}${todo}`, limits.failureChars);
  return `not queued, try again later: ${sentence}`;
}
