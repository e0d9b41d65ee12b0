import { statSync } from 'node:fs';
import { keyFaults, modeText, type KeyFault } from '../../host/key-faults.ts';
import { findSetting, firstLine, type Setting } from '../../host/settings.ts';
import { fault, faultOfAll, notChecked, ok, type Finding } from '../../host/finding.ts';

/** Whether the key is there, nobody else's to read and not to be guessed; and the key, which no finding tells. */
export function checkSecret(): { finding: Finding; key?: Buffer } {
  let found;
  try {
    found = findSetting('GMAIL_SECRET_KEY', { environment: process.env });
  } catch (error) {
    const { message } = error as Error;
    if (process.geteuid?.() !== 0) {
      return { finding: notChecked('secret', `only root can look (${message})`) };
    }
    return { finding: fault('secret', message, `fix ${FILE}`) };
  }
  if (!found) {
    const todo = `put the key into ${FILE}, root 0600`;
    return { finding: fault('secret', 'GMAIL_SECRET_KEY is not set', todo) };
  }
  const key = firstLine(found.bytes);
  if (key.length > 0) return { finding: safety(key, found), key };
  const todo = `put the key into the first line of ${found.file ?? FILE}`;
  return { finding: fault('secret', 'GMAIL_SECRET_KEY is empty', todo) };
}

function safety(key: Buffer, found: Setting): Finding {
  const faults = [
    ...keyFaults([{ secret: key, called: 'GMAIL_SECRET_KEY' }], { variables: found.variables }),
    ...(found.file === undefined ? [] : openness(found.file)),
  ];
  const faulty = faultOfAll('secret', faults);
  if (faulty) return faulty;
  const { file, variables } = found;
  if (file !== undefined) return ok('secret', `${file} is there, and only its owner can read it`);
  const where = variables === undefined ? 'the environment' : variables;
  return ok('secret', `GMAIL_SECRET_KEY is in ${where}`);
}

/** Root's own file is for root alone, and not for a group. */
function openness(file: string): KeyFault[] {
  const { mode, uid } = statSync(file);
  if ((mode & 0o077) === 0 && (uid === 0 || uid === process.geteuid?.())) return [];
  return [
    {
      text: `${file} has mode ${modeText(mode)} and owner ${uid}: others may read the key`,
      todo: `chown root: ${file}; chmod 600 ${file}; and exchange the key`,
    },
  ];
}

const FILE = '/etc/envdir/GMAIL_SECRET_KEY';
