import type { Format, GenericFormatter, SingleBar } from 'cli-progress';
import { limits } from '../limits.ts';
import { systemClock } from './clock.ts';
import { showDuration } from './duration.ts';
import { beforeStderrLines } from './stderr-line.ts';

/** Hears how far a command is that works on many messages. */
export interface Progress {
  /** Work begins on so many messages; undefined where only a scan could count them. */
  begin(total: number | undefined): void;
  /** So many more are done. */
  add(count: number): void;
}

/** Tells nobody. */
export const noProgress: Progress = { begin() {}, add() {} };

/**
 * Runs an action, and shows how far it is where standard error is a terminal: a bar, how many messages a second, and the time
 * that is left. No bar is shown for work that ends soon. The library is loaded here, so that nothing else pays for it.
 */
export async function withProgress<T>(action: (progress: Progress) => T | Promise<T>): Promise<T> {
  if (!process.stderr.isTTY || process.env['TERM'] === 'dumb') return action(noProgress);
  const { default: library } = await import('cli-progress');
  const bar = new ProgressBar(library);
  try {
    return await action(bar);
  } finally {
    bar.end();
  }
}

class ProgressBar implements Progress {
  readonly #bar: SingleBar;
  #total: number | undefined;
  #done = 0;
  #beganAt = 0;
  #showAt = 0;
  /** Ends making room for other lines; undefined while nothing is shown. */
  #keepRoom: (() => void) | undefined;

  constructor(library: { SingleBar: typeof SingleBar; Format: typeof Format }) {
    const format: GenericFormatter = (options, { progress, eta, maxWidth }) => {
      const text = progressText({
        done: this.#done,
        total: this.#total,
        elapsedMs: systemClock.now() - this.#beganAt,
        // The library gives a text and no number where nothing was done lately: then this is NaN.
        leftMs: eta * 1000,
      });
      const bar = `[${library.Format.BarFormat(progress, options)}] `;
      const hasRoom = this.#total !== undefined && bar.length + text.length < maxWidth;
      return `${hasRoom ? bar : ''}${text}`.slice(0, maxWidth - 1);
    };
    this.#bar = new library.SingleBar({
      stream: withoutSavedCursor(process.stderr),
      format,
      barsize: 20,
      barCompleteChar: '#',
      barIncompleteChar: '-',
      fps: 1000 / limits.progressMs,
      etaBuffer: limits.progressRates,
      // Other lines may have taken its place.
      forceRedraw: true,
      linewrap: true,
      clearOnComplete: true,
    });
  }

  begin(total: number | undefined): void {
    this.end();
    this.#total = total;
    this.#done = 0;
    this.#beganAt = systemClock.now();
    this.#showAt = this.#beganAt + limits.progressAfterMs;
  }

  add(count: number): void {
    this.#done += count;
    const now = systemClock.now();
    if (now < this.#showAt) return;
    this.#showAt = now + limits.progressMs;
    if (!this.#keepRoom) {
      this.#keepRoom = beforeStderrLines(erase);
      this.#bar.start(this.#total ?? 0, this.#done);
    }
    this.#bar.update(this.#done);
  }

  end(): void {
    if (!this.#keepRoom) return;
    this.#bar.stop();
    this.#keepRoom();
    this.#keepRoom = undefined;
  }
}

/** The words behind the bar. There may be more messages than there were at the beginning. */
export function progressText({
  done,
  total,
  elapsedMs,
  leftMs,
}: {
  done: number;
  total: number | undefined;
  elapsedMs: number;
  /** 0 or NaN where nobody can know. */
  leftMs: number;
}): string {
  const rate = elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0;
  const rateText = `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a second`;
  if (total === undefined) return `${done} messages, ${rateText}`;
  const left = leftMs > 0 && done < total ? `, ${showDuration(leftMs)} left` : '';
  return `${done} of ${Math.max(done, total)} messages, ${rateText}${left}`;
}

function erase(): void {
  process.stderr.write('\r\u001B[K');
}

/** The library saves where the cursor is, and goes back there at the end; other lines may have moved the bar meanwhile. */
function withoutSavedCursor(terminal: NodeJS.WriteStream): NodeJS.WritableStream {
  return Object.create(terminal, {
    write: {
      value: (text: string) => text === SAVE || text === RESTORE || terminal.write(text),
    },
  }) as NodeJS.WriteStream;
}

/** DECSC and DECRC. */
const [SAVE, RESTORE] = ['\u001B7', '\u001B8'];
