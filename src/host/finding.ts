/** What one check found. */
export interface Finding {
  check: string;
  /** Null: it could not be checked, and `text` says why. */
  ok: boolean | null;
  text: string;
  /** What to do: where it is not ok, and where it is in order and perhaps not what was meant. */
  todo: string | null;
}

export function ok(check: string, text: string): Finding {
  return { check, ok: true, text, todo: null };
}

/** It works as it is set, and an administrator may have meant something else. */
export function note(check: string, text: string, todo: string): Finding {
  return { check, ok: true, text, todo };
}

export function fault(check: string, text: string, todo: string): Finding {
  return { check, ok: false, text, todo };
}

/** The finding of several faults; undefined where there are none. */
export function faultOfAll(
  check: string,
  faults: readonly { text: string; todo: string }[],
): Finding | undefined {
  if (faults.length === 0) return undefined;
  const joined = (name: 'text' | 'todo') => faults.map((each) => each[name]).join('; ');
  return fault(check, joined('text'), joined('todo'));
}

export function notChecked(check: string, why: string): Finding {
  return { check, ok: null, text: `not checked: ${why}`, todo: null };
}

/** One line for people. */
export function findingText({ check, ok: isOk, text, todo }: Finding): string {
  const good = todo === null ? 'ok' : 'NOTE';
  const word = isOk === null ? '?' : isOk ? good : 'FAULT';
  const doing = todo === null ? '' : `. To do: ${todo}`;
  return `${word.padEnd(5)} ${check}: ${text.replace(/\.$/, '')}${doing}`;
}
