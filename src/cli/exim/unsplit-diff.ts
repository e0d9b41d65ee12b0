import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../host/run-command.ts';
import { setSplitLine, SPLIT, UNSPLIT, type TrialConfig } from './debian-config.ts';

/**
 * What would change if the configuration were split, as the lines of a diff; none when split and unsplit are the same.
 * exim4.conf.localmacros is left out: it is read in both cases. The copy is split afterwards.
 */
export function unsplitDiff(trial: TrialConfig): string[] {
  const localmacros = join(trial.confdir, 'exim4.conf.localmacros');
  const macros = existsSync(localmacros) ? readFileSync(localmacros) : undefined;
  if (macros) writeFileSync(localmacros, '');
  const [template, confd] = [UNSPLIT, SPLIT].map((line) => {
    setSplitLine(trial.confdir, line);
    const file = trial.generate();
    writeFileSync(file, body(readFileSync(file, 'utf8')));
    return file;
  });
  if (macros) writeFileSync(localmacros, macros);
  const labels = ['--label', 'exim4.conf.template', '--label', 'conf.d'];
  const { stdout } = runCommand('diff', '-U1', ...labels, `${template}`, `${confd}`);
  return stdout.split('\n').slice(0, -1);
}

/** Without the head, which tells where the file is from, and without empty lines. */
function body(text: string): string {
  const lines = text.split('\n').filter((line) => line !== '');
  return `${lines.slice(lines.indexOf(RULE, lines.indexOf(RULE) + 1) + 1).join('\n')}\n`;
}

/** The head of what update-exim4.conf generates is between two of these. */
const RULE = '#########';
