import type { CommandModule } from 'yargs';
import { environmentOptions } from '../../host/environment-options.ts';
import { latestIds } from '../../spool/latest-ids.ts';
import { spoolOption, withSpool } from '../../spool/with-spool.ts';
import { print } from '../print.ts';

interface Arguments {
  prefix: string;
  spool: string;
}

/** `appengine-mailer queue ids [PREFIX]`, for completion alone: the latest ids that begin so. */
export const idsCommand: CommandModule<object, Arguments> = {
  command: 'ids [prefix]',
  describe: false,
  builder: (yargs) =>
    yargs
      .positional('prefix', { type: 'string', default: '' })
      .options(environmentOptions({ spool: spoolOption })),
  handler: async ({ prefix, spool: folder }) =>
    withSpool(folder, 'operator', async (spool) => print(latestIds(spool, prefix))),
};
