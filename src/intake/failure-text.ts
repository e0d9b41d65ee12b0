import { limits } from '../limits.ts';
import { printable } from '../mail/printable.ts';
import { isBusy, isRefusedBySchema } from '../sqlite/is-corruption.ts';

/** Why a message was not stored, in one line for the log of the mail server that handed it over. */
export function failureText(error: unknown): string {
  return `not queued, try again later: ${failureReason(error)}`;
}

/** What is wrong, as a sentence in one line. */
export function failureReason(error: unknown): string {
  return printable(sentenceOf(error).replace(/\s+/g, ' '), limits.failureChars);
}

function sentenceOf(error: unknown): string {
  const { message = String(error), code, path } = error as Partial<NodeJS.ErrnoException>;
  if (isBusy(error)) {
    return `another program has been writing to the spool for ${limits.busyMs / 1000} s (${message})`;
  }
  if (code === 'ENOENT' && path !== undefined) {
    return `the folder of the spool is missing (${path}). To do: make it, or name the right one with --spool`;
  }
  // Somebody may have changed the schema of the spool, by a trigger.
  return isRefusedBySchema(error)
    ? `${message}. To do: appengine-mailer queue fsck --check`
    : message;
}
