import { gmailCommand } from '../client/command.ts';
import { commandGroup, type Command } from '../host/command.ts';
import { exitCodes, CommandError, type ExitCode } from '../host/command-error.ts';
import { refuseStrayVariables } from '../host/options.ts';
import { loadDefaults } from '../host/settings.ts';
import { stderrLine } from '../host/stderr-line.ts';
import { drainCommand } from '../drain/command.ts';
import { proxyCommand } from '../proxy/command.ts';
import { checkCommand } from './check/command.ts';
import { proxyCheckCommand } from './check/proxy-check.ts';
import { completionCommand } from './completion.ts';
import { eximCommand } from './exim/command.ts';
import { ledgerCommand } from './ledger/command.ts';
import { parseCommandLine } from './parse-command-line.ts';
import { printText } from './print.ts';
import { queueCommand } from './queue/command.ts';

/** The programs with all of their commands. */
export const programs = {
  'appengine-mailer': commandGroup({
    name: 'appengine-mailer',
    describe: 'A durable queue between Exim and an HTTP mail proxy',
    commands: [
      drainCommand,
      { ...proxyCommand, commands: [proxyCheckCommand] },
      queueCommand,
      ledgerCommand,
      completionCommand,
      checkCommand,
      eximCommand,
    ],
  }),
  gmail: gmailCommand,
} as const satisfies Record<string, Command>;

/**
 * Runs `appengine-mailer ARGS…` or `gmail ARGS…` as the whole of this process, and returns its exit code (sysexits(3)).
 * An error is one sentence on standard error.
 */
export async function runCommandLine(
  program: keyof typeof programs,
  args: readonly string[],
): Promise<ExitCode> {
  // Node.js would print the error as it is, over several lines, and exit with 1.
  process.on('uncaughtException', (error) => {
    stderrLine(`${program}: ${defectText(error)}`);
    process.exit(exitCodes.defect);
  });
  // `appengine-mailer queue | head` ends the reader first.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  });
  // A full disk or a closed pipe behind standard error must end no service, and change no exit code.
  process.stderr.on('error', () => {});
  const { exitCode, complaint } = await runProgram(program, args);
  if (complaint !== undefined) stderrLine(complaint);
  return exitCode;
}

/** Runs a program within this process: its exit code, and the sentence for standard error. */
export async function runProgram(
  program: keyof typeof programs,
  args: readonly string[],
): Promise<{ exitCode: ExitCode; complaint?: string }> {
  try {
    const isOfProxy = program === 'appengine-mailer' && OF_PROXY.has(args[0] ?? '');
    loadDefaults(`/etc/default/appengine-mailer${isOfProxy ? '-proxy' : ''}`);
    const asked = await parseCommandLine(programs[program], args);
    if (asked.command === undefined) {
      await printText(asked.text);
    } else {
      if (asked.command.isService) refuseStrayVariables(settableNames());
      await asked.run();
    }
    return { exitCode: exitCodes.ok };
  } catch (error) {
    if (error instanceof CommandError) {
      return { exitCode: error.exitCode, complaint: `${program}: ${error.message}` };
    }
    return { exitCode: exitCodes.defect, complaint: `${program}: ${defectText(error)}` };
  }
}

function defectText(error: unknown): string {
  return `defect: ${error instanceof Error ? error.stack : String(error)}`;
}

/** Commands on the machine of a proxy. */
const OF_PROXY = new Set(['proxy', 'ledger']);

/** The names of all options that may be variables: all programs of a machine have the same environment. */
function settableNames(): string[] {
  const all = (command: Command): string[] => [
    ...Object.keys(command.settings),
    ...command.commands.flatMap(all),
  ];
  return ['max-size', ...Object.values<Command>(programs).flatMap(all)];
}
