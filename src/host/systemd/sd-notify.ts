import { limits } from '../../limits.ts';
import { printable } from '../../mail/printable.ts';
import { stderrLine } from '../stderr-line.ts';
import { unixDatagrams, type Datagrams } from './unix-datagram.ts';

/**
 * Tells systemd how a service is doing (sd_notify(3)): that it is ready, a line for `systemctl status`, a
 * sign of life for the watchdog. Where no service manager listens, nothing happens.
 *
 * The loop that does the work calls it, not a timer beside it: when that loop is stuck, systemd ends the
 * service and starts it anew. It never throws: what systemd does not take now is told again after limits.statusMs.
 */
export class SdNotify {
  readonly #datagrams: Datagrams | undefined;
  /** How often there has to be a sign of life: half of what the watchdog allows, Infinity without one. */
  readonly #beatMs: number;
  /** systemd has been told that the service is ready. */
  #ready = false;
  /** The status that systemd was told last. */
  #status = '';
  #triedAt = -Infinity;
  /** The last call of `working` was not told, because it came too soon or because systemd did not take it. */
  #untold = false;
  /** Why systemd could not be told the last time. */
  #fault: string | undefined;

  constructor(environment: NodeJS.ProcessEnv = process.env) {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: microseconds } = environment;
    this.#datagrams = path ? unixDatagrams(path) : undefined;
    this.#beatMs = path && microseconds ? Number(microseconds) / 2000 : Infinity;
  }

  /** The service does its work, and `status` says how it goes. The first call says that it is ready. */
  working(status: () => string): void {
    if (!this.#datagrams) return;
    this.#untold = this.#sinceTriedMs() < this.#pauseMs();
    if (this.#untold) return;
    const text = printable(status(), limits.statusChars);
    this.#triedAt = performance.now();
    const isTold = this.#tell([
      ...(this.#ready ? [] : ['READY=1']),
      ...(text === this.#status ? [] : [`STATUS=${text}`]),
      ...(this.#beatMs === Infinity ? [] : ['WATCHDOG=1']),
    ]);
    this.#untold = !isTold;
    if (!isTold) return;
    this.#ready = true;
    this.#status = text;
  }

  /** In how many milliseconds `working` is to be called again at the latest. */
  wantedInMs(): number {
    const afterMs = this.#untold ? this.#pauseMs() : this.#beatMs;
    return afterMs === Infinity ? Infinity : afterMs - this.#sinceTriedMs();
  }

  /** The service ends; it may take a while. */
  stopping(): void {
    this.#tell(['STOPPING=1']);
  }

  #pauseMs(): number {
    return Math.min(limits.statusMs, this.#beatMs);
  }

  #sinceTriedMs(): number {
    return performance.now() - this.#triedAt;
  }

  /** Whether systemd has taken these lines. A fault that lasts is written to standard error once. */
  #tell(lines: readonly string[]): boolean {
    if (!this.#datagrams || lines.length === 0) return true;
    // Where koffi is missing, the lines after the first one tell who requires it.
    const fault = this.#datagrams.send(Buffer.from(lines.join('\n')))?.message.split('\n')[0];
    if (fault !== undefined && fault !== this.#fault) {
      stderrLine(`systemd cannot be told ${lines.join(', ')}: ${fault}`, '<4>');
    }
    this.#fault = fault;
    return fault === undefined;
  }
}
