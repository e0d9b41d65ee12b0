import { command } from '../../host/command.ts';
import { latestIds } from '../../spool/latest-ids.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';

/** `appengine-mailer queue ids [PREFIX]`, for completion alone: the latest ids that begin so. */
export const idsCommand = command({
  name: 'ids',
  arguments: { prefix: { optional: true, describe: 'How the ids begin' } },
  settings: { spool: spoolOption },
  run: async ({ prefix = '', spool: folder }) =>
    withSpool(folder, 'operator', async (spool) => print(latestIds(spool, prefix))),
});
