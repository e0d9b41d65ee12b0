import { CommandError } from './command-error.ts';
import { giveUpRoot } from './give-up-root.ts';
import { withoutSecrets } from './settings.ts';

/**
 * Has root become the folder's owner (giveUpRoot), before anything else is done for a command. Throws CommandError: `toFailure` turns
 * an error of the file system into one.
 */
export async function becomeOwner(
  folder: string,
  toFailure: (error: Error) => Error,
  environment: () => NodeJS.ProcessEnv = () => withoutSecrets(process.env),
): Promise<void> {
  try {
    await giveUpRoot(folder, environment);
  } catch (error) {
    throw error instanceof Error && !(error instanceof CommandError) ? toFailure(error) : error;
  }
}
