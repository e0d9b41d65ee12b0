import yargs from 'yargs';
import { drainCommand } from '../drain/command.ts';
import { exitCodes, Failure, type ExitCode } from '../host/failure.ts';
import { loadDefaults } from '../host/settings.ts';
import { printable } from '../mail/printable.ts';
import { proxyCommand } from '../proxy/command.ts';
import { queueCommand } from './queue/command.ts';

/**
 * Runs `appengine-mailer ARGS…` and returns its exit code (sysexits(3)). What goes wrong is one
 * sentence on standard error.
 */
export async function runCommandLine(args: readonly string[]): Promise<ExitCode> {
  // `appengine-mailer queue | head` ends the reader first.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  });
  try {
    loadDefaults(`/etc/default/appengine-mailer${args[0] === 'proxy' ? '-proxy' : ''}`);
    await yargs([...args])
      .scriptName('appengine-mailer')
      .locale('en')
      .usage('$0 COMMAND\n\nA durable queue between Exim and an HTTP mail proxy.')
      .command(drainCommand)
      .command(proxyCommand)
      .command(queueCommand)
      .demandCommand(1, 'Name a command.')
      .strict()
      .check((argv) => {
        const twice = Object.keys(argv).find(
          (name) => !LISTS.has(name) && Array.isArray(argv[name]),
        );
        if (twice === undefined) return true;
        throw new Failure(exitCodes.usage, `--${twice} is given twice`);
      })
      .fail((message, error) => {
        if (error && error.name !== 'YError') throw error;
        const sentence = (message ?? error?.message ?? '')
          .trim()
          .replace(/\s+/g, ' ')
          .replace(/\.?$/, '.');
        throw new Failure(exitCodes.usage, `${sentence} See appengine-mailer --help.`);
      })
      .parseAsync();
    return exitCodes.ok;
  } catch (error) {
    const text = error instanceof Failure ? error.message : `defect: ${(error as Error).stack}`;
    process.stderr.write(`appengine-mailer: ${printable(text)}\n`);
    return error instanceof Failure ? error.exitCode : exitCodes.defect;
  }
}

/** Arguments that may be several. */
const LISTS = new Set(['_', 'ids', 'allow-sender', 'allowSender']);
