import type { CommandModule } from 'yargs';
import { print } from './print.ts';

/** `appengine-mailer completion`: prints what bash is to source, for gmail too. */
export const completionCommand: CommandModule = {
  command: 'completion',
  describe: 'Print the script for completion in bash',
  handler: async () => print(SCRIPT.trimEnd().split('\n')),
};

/**
 * The programs say themselves what may follow (yargs). yargs' own script for this depends on the shell of
 * whoever prints it, and knows nothing of the options of a program without commands: `$0`, yargs' name of its only
 * command, brings these.
 */
const SCRIPT = `# Completion in bash for appengine-mailer and gmail, printed by: appengine-mailer completion
_appengine_mailer() {
  local words=("\${COMP_WORDS[@]:0:COMP_CWORD+1}")
  [ "\${1##*/}" != gmail ] || words=('$0' "\${words[@]}")
  mapfile -t COMPREPLY < <(
    compgen -W "$(SHELL=bash "$1" --get-yargs-completions "\${words[@]}" 2>/dev/null)" -- "$2"
  )
}
complete -o bashdefault -o default -F _appengine_mailer appengine-mailer gmail
`;
