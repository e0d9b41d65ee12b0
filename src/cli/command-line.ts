import yargs, { type Argv, type Options } from 'yargs';
import { gmailCommand } from '../client/command.ts';
import { drainCommand, drainOptions } from '../drain/command.ts';
import { environmentOptions, refuseStrayVariables } from '../host/environment-options.ts';
import { exitCodes, CommandError, type ExitCode } from '../host/command-error.ts';
import { parseBoolean } from '../host/parse-boolean.ts';
import { loadDefaults } from '../host/settings.ts';
import { stderrLine } from '../host/stderr-line.ts';
import { version } from '../host/version.ts';
import { proxyCommand, proxyOptions } from '../proxy/command.ts';
import { completionCommand } from './completion.ts';
import { checkCommand } from './check/command.ts';
import { proxyCheckCommand } from './check/proxy-check.ts';
import { eximCommand } from './exim/command.ts';
import { ledgerCommands } from './ledger/command.ts';
import { queueCommand } from './queue/command.ts';

/**
 * Runs `appengine-mailer ARGS…` or `gmail ARGS…` and returns its exit code (sysexits(3)). What goes
 * wrong is one sentence on standard error.
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
  try {
    loadDefaults(
      `/etc/default/appengine-mailer${program === 'appengine-mailer' && OF_PROXY.has(args[0] ?? '') ? '-proxy' : ''}`,
    );
    await programs[program](
      yargs([...args])
        .scriptName(program)
        // Bundled, yargs looks for no package.json (debian/make/yargs.mjs).
        .version(version())
        .locale('en'),
    )
      .strict()
      .middleware((argv) => {
        if (SERVICES.has(String(argv._[0]))) refuseStrayVariables(SETTABLE);
        readFlags(argv, args);
      })
      .check((argv) => {
        const twice = Object.keys(argv).find(
          (name) => !LISTS.has(name) && Array.isArray(argv[name]),
        );
        if (twice === undefined) return true;
        throw new CommandError(
          exitCodes.usage,
          `${twice.length > 1 ? '--' : '-'}${twice} is given twice`,
        );
      })
      .fail((message, error) => {
        if (error && error.name !== 'YError') throw error;
        const sentence = (message ?? error?.message ?? '')
          .trim()
          .replace(/\s+/g, ' ')
          .replace(/\.?$/, '.');
        throw new CommandError(exitCodes.usage, `${sentence} See ${program} --help.`);
      })
      .parseAsync();
    return exitCodes.ok;
  } catch (error) {
    const text = error instanceof CommandError ? error.message : defectText(error);
    stderrLine(`${program}: ${text}`);
    return error instanceof CommandError ? error.exitCode : exitCodes.defect;
  }
}

function defectText(error: unknown): string {
  return `defect: ${error instanceof Error ? error.stack : String(error)}`;
}

/** Reads each `--flag=VALUE` as the environment is read: yargs takes every value but `true` for false. */
function readFlags(argv: Record<string, unknown>, args: readonly string[]): void {
  const end = args.indexOf('--');
  for (const arg of end < 0 ? args : args.slice(0, end)) {
    const [, name = '', text = ''] = /^--([^=]+)=(.*)$/s.exec(arg) ?? [];
    if (typeof argv[name] !== 'boolean') continue;
    const value = parseBoolean(text);
    if (value === undefined) {
      throw new CommandError(
        exitCodes.usage,
        `--${name} is yes or no, and not ${JSON.stringify(text)}`,
      );
    }
    argv[name] = value;
    argv[camelCase(name)] = value;
  }
}

function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

const programs = {
  'appengine-mailer': (yargs: Argv) =>
    yargs
      .usage('$0 COMMAND\n\nA durable queue between Exim and an HTTP mail proxy.')
      .command(drainCommand)
      .command({
        ...proxyCommand,
        builder: (yargs) =>
          yargs.options(environmentOptions(proxyOptions)).command(proxyCheckCommand),
      })
      .command(queueCommand)
      .command(ledgerCommands)
      .command(completionCommand)
      .command(checkCommand)
      .command(eximCommand)
      .demandCommand(1, 'Name a command.'),
  gmail: (yargs: Argv) => yargs.command(gmailCommand),
};

/** Commands on the machine of a proxy. */
const OF_PROXY = new Set(['proxy', 'ledger']);

/** What runs unseen, so that a wrong setting must not be passed over; all read the same environment. */
const SERVICES = new Set(['drain', 'proxy']);
const OF_OTHERS = ['max-size', 'exim', 'subject', 'queue', 'timeout'];
const SETTABLE = [...Object.keys(drainOptions), ...Object.keys(proxyOptions), ...OF_OTHERS];

/** Arguments that may be several: those without a name, and options that may be given again. */
const LISTS = new Set([
  '_',
  'ids',
  'to',
  ...Object.entries<Options>({ ...drainOptions, ...proxyOptions })
    .filter(([, { array }]) => array)
    .flatMap(([name]) => [name, camelCase(name)]),
]);
