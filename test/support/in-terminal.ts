import { StringDecoder } from 'node:string_decoder';
import type { TestContext } from 'node:test';
import { bundledProgram, start, type Program } from './program.ts';
import { until } from './until.ts';

/** `appengine-mailer ARGS…` in a terminal of its own, as script(1) makes it, which both of its outputs are. */
export class InTerminal {
  readonly program: Program;
  /** All that was written into the terminal. */
  shown = '';

  constructor(
    t: TestContext,
    args: readonly string[],
    { columns = 80, env = {} }: { columns?: number; env?: NodeJS.ProcessEnv } = {},
  ) {
    const words = [process.execPath, bundledProgram, ...args].map((word) => `'${word}'`).join(' ');
    const command = `stty rows 24 cols ${columns}; exec ${words}`;
    this.program = start(t, '/usr/bin/script', ['-qec', command, '/dev/null'], {
      env: { TERM: 'xterm', ...env },
    });
    const decoder = new StringDecoder();
    this.program.child.stdout?.on('data', (bytes: Buffer) => {
      this.shown += decoder.write(bytes);
    });
  }

  type(text: string): void {
    this.program.child.stdin?.write(text);
  }

  async shows(pattern: RegExp): Promise<void> {
    await until(
      () => pattern.test(this.shown),
      () => this.shown,
    );
  }

  /** What is left on the lines, as a terminal shows it that knows the sequences which the programs may use. */
  get lines(): string[] {
    const lines = [''];
    let at = 0;
    for (const [piece] of this.shown.matchAll(PIECES)) {
      const row = lines.length - 1;
      const line = lines[row] ?? '';
      const escape = /^.\[(\d*)([GK])$/.exec(piece);
      if (piece === '\n') lines.push('');
      else if (piece === '\r') at = 0;
      else if (escape?.[2] === 'G') at = Number(escape[1] || 1) - 1;
      else if (escape) lines[row] = escape[1] === '2' ? '' : line.slice(0, at);
      else if (piece.startsWith('\u001B')) throw new Error(`unexpected ${JSON.stringify(piece)}`);
      else {
        lines[row] = `${line.slice(0, at).padEnd(at)}${piece}${line.slice(at + piece.length)}`;
        at += piece.length;
      }
    }
    return lines;
  }
}

/** Sequences, control characters, and text between them. */
// oxlint-disable-next-line no-control-regex
const PIECES = /\u001B(?:\[[0-9;?]*[A-Za-z]|.)|[\r\n]|[^\u001B\r\n]+/g;
