/** What one check found. */
export interface Finding {
  check: string;
  /** Null: it could not be checked, and `text` says why. */
  ok: boolean | null;
  text: string;
  /** What to do, where it is not ok. */
  todo: string | null;
}

export function ok(check: string, text: string): Finding {
  return { check, ok: true, text, todo: null };
}

export function fault(check: string, text: string, todo: string): Finding {
  return { check, ok: false, text, todo };
}

export function notChecked(check: string, why: string): Finding {
  return { check, ok: null, text: `not checked: ${why}`, todo: null };
}

/** One line for people. */
export function findingText({ check, ok, text, todo }: Finding): string {
  const word = ok === null ? '?' : ok ? 'ok' : 'FAULT';
  const doing = todo === null ? '' : `. To do: ${todo}`;
  return `${word.padEnd(5)} ${check}: ${text.replace(/\.$/, '')}${doing}`;
}
