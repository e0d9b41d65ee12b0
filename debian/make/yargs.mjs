// @ts-expect-error -- the inner modules of yargs have no types
import shim from '../../node_modules/yargs/lib/platform-shims/esm.mjs';
// @ts-expect-error -- as above
import { YargsFactory } from '../../node_modules/yargs/build/lib/yargs-factory.js';

/**
 * yargs for a bundle. The package looks for the version of a program in the package.json beside its own node_modules, and
 * where it is in none, as in a bundle, in the working directory and all folders above: they may be anybody's, and a
 * FIFO of that name would hold up root's commands for ever. Here it looks for none; we tell it the version.
 */
export default YargsFactory({ ...shim, findUp: () => undefined });
