import { commandGroup, type Command } from '../host/command.ts';
import { exitCodes, CommandError, type ExitCode } from '../host/command-error.ts';
import { refuseStrayVariables } from '../host/options.ts';
import { loadDefaults } from '../host/settings.ts';
import { stderrError } from '../host/stderr-line.ts';
import { parseCommandLine } from './parse-command-line.ts';
import { printText } from './print.ts';

/** The commands of appengine-mailer, in the order of --help. A service does not load those of others: they take memory. */
const loaders: Record<string, () => Promise<Command>> = {
  drain: async () => (await import('../drain/command.ts')).drainCommand,
  proxy: async () => {
    const { proxyCommand } = await import('../proxy/command.ts');
    const { proxyCheckCommand } = await import('./check/proxy-check.ts');
    return { ...proxyCommand, commands: [proxyCheckCommand] };
  },
  intake: async () => (await import('../intake/command.ts')).intakeCommand,
  queue: async () => (await import('./queue/command.ts')).queueCommand,
  ledger: async () => (await import('./ledger/command.ts')).ledgerCommand,
  completion: async () => (await import('./completion.ts')).completionCommand,
  check: async () => (await import('./check/command.ts')).checkCommand,
  exim: async () => (await import('./exim/command.ts')).eximCommand,
};

/** The programs, with the command that is named or else all of them. */
const programs = {
  'appengine-mailer': async (name?: string): Promise<Command> => {
    const load = name === undefined ? undefined : loaders[name];
    return commandGroup({
      name: 'appengine-mailer',
      describe: 'A durable queue between Exim and an HTTP mail proxy',
      commands: await Promise.all((load ? [load] : Object.values(loaders)).map((each) => each())),
    });
  },
  gmail: async (): Promise<Command> => (await import('../client/command.ts')).gmailCommand,
};

/** The name of a program. */
export type Program = keyof typeof programs;

/** The programs with all of their commands, by their names. */
export async function allPrograms(): Promise<Record<Program, Command>> {
  return {
    'appengine-mailer': await programs['appengine-mailer'](),
    gmail: await programs.gmail(),
  };
}

/**
 * Runs `appengine-mailer ARGS…` or `gmail ARGS…` as the whole of this process, and returns its exit code (sysexits(3)).
 * An error is one sentence on standard error.
 */
export async function runCommandLine(program: Program, args: readonly string[]): Promise<ExitCode> {
  // Node.js would print the error as it is, over several lines, and exit with 1.
  process.on('uncaughtException', (error) => {
    stderrError(`${program}: ${defectText(error)}`);
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
  if (complaint !== undefined) stderrError(complaint);
  return exitCode;
}

/** Runs a program within this process: its exit code, and the sentence for standard error. */
export async function runProgram(
  program: Program,
  args: readonly string[],
): Promise<{ exitCode: ExitCode; complaint?: string }> {
  try {
    const isOfProxy = program === 'appengine-mailer' && OF_PROXY.has(args[0] ?? '');
    loadDefaults(`/etc/default/appengine-mailer${isOfProxy ? '-proxy' : ''}`);
    const asked = await parseCommandLine(await programs[program](args[0]), args);
    if (asked.command === undefined) {
      await printText(asked.text);
    } else {
      if (asked.command.isService)
        await refuseStrayVariables(settingsOf(asked.command), allSettings);
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
async function allSettings(): Promise<string[]> {
  return Object.values(await allPrograms()).flatMap(settingsOf);
}

function settingsOf(command: Command): string[] {
  return [...Object.keys(command.settings), ...command.commands.flatMap(settingsOf)];
}
