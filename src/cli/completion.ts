import { command } from '../host/command.ts';
import { printText } from './print.ts';

/** `appengine-mailer completion`: prints what bash is to source, for gmail too. */
export const completionCommand = command({
  name: 'completion',
  describe: 'Print the script for completion in bash',
  run: async () => printText(SCRIPT.trimEnd()),
});

/**
 * The programs say themselves what may follow (by yargs), and which ids there are. The script that yargs would print
 * depends on the shell in which it is printed, and offers no options for a program or for `queue` without a command: here
 * `$0`, the name that yargs gives to the only command of a program, and `list` stand for these. Bash makes three words of
 * --OPTION=VALUE.
 */
const SCRIPT = `# Completion in bash for appengine-mailer and gmail, printed by: appengine-mailer completion
_appengine_mailer() {
  local words=() ids=() spool=() last= word current=$2
  [ "$current" != = ] || current=
  for word in "\${COMP_WORDS[@]:0:COMP_CWORD}"; do
    [ "$word" != = ] || continue
    [ "$last" != --spool ] || spool=(--spool "$word")
    words+=("$word") last=$word
  done
  [ "\${1##*/}" != gmail ] || words=('$0' "\${words[@]}")
  if [[ \${words[1]-} == queue && \${words[2]-$current} == -* ]]; then
    words=("\${words[@]:0:2}" list "\${words[@]:2}")
  fi
  mapfile -t COMPREPLY < <(
    compgen -W "$(SHELL=bash "$1" --get-yargs-completions "\${words[@]}" "$current" 2>/dev/null)" -- "$current"
  )
  [[ "\${words[*]:1:2}" =~ ^queue\\ (show|explain|retry|hold|release|bounce|delete|return)$ ]] || return 0
  [[ $current =~ ^[0-9a-f]*$ && ! $last =~ ^--(spool|state|sender|recipient|older-than|exim)$ ]] || return 0
  mapfile -t ids < <("$1" queue ids "$current" "\${spool[@]}" 2>/dev/null)
  [ "\${#ids[@]}" = 0 ] || COMPREPLY=("\${ids[@]}")
}
complete -o bashdefault -o default -F _appengine_mailer appengine-mailer gmail
`;
