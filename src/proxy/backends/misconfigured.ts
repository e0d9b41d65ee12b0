import { CommandError, exitCodes } from '../../host/command-error.ts';

/** The error for options and settings that do not describe an account at a provider. */
export function misconfigured(sentence: string): CommandError {
  return new CommandError(exitCodes.configuration, sentence);
}
