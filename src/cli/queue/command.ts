import { commandGroup } from '../../host/command.ts';
import { explainCommand } from './explain.ts';
import { exportCommand } from './export.ts';
import { fsckCommand } from './fsck.ts';
import { idsCommand } from './ids.ts';
import { importCommand } from './import.ts';
import { listCommand } from './list.ts';
import { metricsCommand } from './metrics.ts';
import { operateCommands } from './operate.ts';
import { reportCommand } from './report.ts';
import { shapeCommand } from './shape.ts';
import { showCommand } from './show.ts';
import { statsCommand } from './stats.ts';
import { topCommand } from './top.ts';

/** `appengine-mailer queue …`: what an administrator sees of the spool and does to it. */
export const queueCommand = commandGroup({
  name: 'queue',
  describe: 'Show the queue and change it',
  commands: [
    ...operateCommands(),
    listCommand,
    showCommand,
    explainCommand,
    statsCommand,
    metricsCommand,
    topCommand,
    shapeCommand,
    reportCommand,
    exportCommand,
    importCommand,
    fsckCommand,
    idsCommand,
  ],
});
