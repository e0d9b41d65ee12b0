import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../../host/command.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { readIfThere, replaceFile } from '../../host/replace-file.ts';
import { runCommand } from '../../host/run-command.ts';
import { print } from '../print.ts';
import { eximFault, eximMacro, eximRoute } from './ask-exim.ts';
import {
  etcExim,
  exim,
  readSettings,
  setSplitLine,
  settingsFile,
  SPLIT,
  TrialConfig,
  updateConfig,
} from './debian-config.ts';
import { hookFiles, putHook, snippetFolder, takeHook } from './hook.ts';
import { reload } from './reload.ts';
import { requireRoot } from './require-root.ts';
import { unsplitDiff } from './unsplit-diff.ts';
import { rememberUnsplit, unsplitFile, unsplitLine } from './was-unsplit.ts';

/** `appengine-mailer exim enable`. What must be refused is a CommandError 78, and nothing is changed. */
export const enableCommand = command({
  name: 'enable',
  describe: 'Make Exim hand mail for other hosts to the queue',
  options: {
    'without-dkim': {
      flag: true,
      describe: 'Enable although Exim signs with DKIM, and signs only what it sends by SMTP',
    },
  },
  run: async ({ withoutDkim }) => {
    requireRoot();
    requireDebian();
    const isSplit = readSettings().split;
    const unsplit = !isSplit || unsplitLine() !== undefined;
    const trial = new TrialConfig();
    try {
      takeHook(trial.confdir);
      if (!isSplit) await requireNoDifference(trial);
      putHook(trial.confdir, unsplit);
      requireAnswer(trial.generate(), withoutDkim);
    } finally {
      trial.remove();
    }
    putInForce(unsplit);
    await print('Exim hands mail for other hosts to the queue.');
    if (unsplit) await print(SPLIT_NOTE);
    await reload();
  },
});

const SPLIT_NOTE = [
  'Its configuration is split now: /etc/exim4/exim4.conf.template is no longer read. Make changes in',
  "/etc/exim4/conf.d. 'appengine-mailer exim disable' undoes this.",
];

function requireDebian(): void {
  if (!existsSync(exim) || !existsSync(settingsFile(etcExim))) {
    throw refusal('Exim is not installed as Debian does it: apt install exim4-daemon-light');
  }
  const own = join(etcExim, 'exim4.conf');
  if (existsSync(own)) {
    throw refusal(
      `Exim is configured by ${own}, written by hand: add what is in ${snippetFolder()} to it yourself`,
    );
  }
  const { type } = readSettings();
  if (type === 'smarthost' || type === 'satellite') return;
  throw refusal(
    `Exim is configured as '${type}', which sends by no smarthost: choose "mail sent by smarthost" ` +
      '(any name will do) in dpkg-reconfigure exim4-config',
  );
}

/** Splitting the configuration must not change it. */
async function requireNoDifference(trial: TrialConfig): Promise<void> {
  const difference = unsplitDiff(trial);
  if (difference.length === 0) return;
  await print(difference);
  throw refusal(
    'the configuration would have to be split, and /etc/exim4/conf.d says something else than ' +
      'exim4.conf.template (see above): make them agree, or split it yourself (dpkg-reconfigure exim4-config)',
  );
}

/** Asks Exim itself whether the configuration does what it is made for. */
function requireAnswer(config: string, withoutDkim: boolean): void {
  const fault = eximFault(config);
  if (fault !== undefined) throw refusal(`Exim does not take the configuration: ${fault}`);

  const domain = eximMacro(config, 'DKIM_DOMAIN');
  if (domain !== undefined && !withoutDkim) {
    throw refusal(
      `DKIM_DOMAIN is set (${domain}), and Exim signs only what it sends by SMTP: mail would leave unsigned. ` +
        'Let the relay behind the proxy sign, and say --without-dkim',
    );
  }
  const pipe = eximMacro(config, 'APPENGINE_MAILER_PIPE') ?? '';
  if (!isExecutable(pipe)) {
    throw refusal(`there is no program ${pipe} for Exim to run: install appengine-mailer`);
  }
  const account = eximMacro(config, 'APPENGINE_MAILER_USER') ?? '';
  for (const [database, what] of [
    ['passwd', 'account'],
    ['group', 'group'],
  ] as const) {
    if (runCommand('getent', database, account).code === 0) continue;
    throw refusal(
      `there is no ${what} ${account}, as which Exim is to run the program: install appengine-mailer`,
    );
  }
  const { way, text } = eximRoute(config);
  if (!way) throw refusal(`mail for other hosts would not reach the queue: Exim says "${text}"`);
}

/** Changes the real configuration, all of it or nothing. */
function putInForce(unsplit: boolean): void {
  const putBack = remember([
    unsplitFile,
    ...hookFiles.map((file) => join(etcExim, file)),
    settingsFile(etcExim),
  ]);
  try {
    if (unsplit) rememberUnsplit();
    putHook(etcExim, unsplit);
    if (unsplit) setSplitLine(etcExim, SPLIT);
    updateConfig();
    const { way, text } = eximRoute();
    if (!way) throw new Error(`Exim says "${text}"`);
  } catch (error) {
    throw new CommandError(exitCodes.busy, `${(error as Error).message}; ${undo(putBack)}`);
  }
}

function undo(putBack: () => void): string {
  try {
    putBack();
    updateConfig();
    return 'everything is as it was';
  } catch (error) {
    return `and it could not be undone (${(error as Error).message}): appengine-mailer exim disable`;
  }
}

/** Files as they are; the function returned puts them back, in the opposite order. */
function remember(files: readonly string[]): () => void {
  const found = files.map((file) => [file, readIfThere(file)] as const);
  return () => {
    for (const [file, content] of found.toReversed()) {
      if (content !== undefined || existsSync(file)) replaceFile(file, content);
    }
  };
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function refusal(sentence: string): CommandError {
  return new CommandError(exitCodes.configuration, sentence);
}
