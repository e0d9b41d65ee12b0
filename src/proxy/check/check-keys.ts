import { countOf } from '../../host/count-of.ts';
import { faultOfAll, ok, type Finding } from '../../host/finding.ts';
import { limits } from '../../limits.ts';
import { readKeys } from '../policy/keyring.ts';

/** Checks whether there are keys that nobody can guess, and names their hosts. Throws CommandError 78 without any key. */
export function checkKeys(keysFile: string | undefined): Finding {
  const { keys, faults } = readKeys(keysFile);
  const faulty = faultOfAll('keys', faults);
  if (faulty) return faulty;
  const names = [...new Set(keys.map(({ name }) => name).filter((name) => name !== ''))];
  const named = names.slice(0, limits.namedKeys).join(', ');
  const more = names.length - limits.namedKeys;
  const of =
    names.length === 0 ? ' without a name' : ` of ${named}${more > 0 ? ` and ${more} more` : ''}`;
  return ok('keys', `${countOf(keys.length, 'key')}${of}`);
}
