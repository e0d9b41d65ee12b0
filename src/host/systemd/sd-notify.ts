import { limits } from '../../limits.ts';
import { printable } from '../../mail/printable.ts';
import { stderrLine } from '../stderr-line.ts';
import { unixDatagrams } from './unix-datagram.ts';

/**
 * Tells systemd how a service is doing (sd_notify(3)): that it is ready, a line for `systemctl status`, a
 * sign of life for the watchdog. Where no service manager listens, nothing happens.
 *
 * The loop that does the work calls it, not a timer beside it: when that loop is stuck, systemd ends the
 * service and starts it anew.
 */
export class SdNotify {
  readonly #path: string | undefined;
  /** How often there has to be a sign of life: half of what the watchdog allows, Infinity without one. */
  readonly #beatMs: number;
  #status = '';
  #toldAt = -Infinity;
  /** `working` was called so soon after the last time that it was not told. */
  #untold = false;

  constructor(environment: NodeJS.ProcessEnv = process.env) {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: microseconds } = environment;
    this.#path = path;
    this.#beatMs = path && microseconds ? Number(microseconds) / 2000 : Infinity;
  }

  /** The service does its work, and `status` says how it goes. The first call says that it is ready. */
  working(status: () => string): void {
    if (!this.#path) return;
    this.#untold = this.#sinceToldMs() < this.#pauseMs();
    if (this.#untold) return;
    const text = printable(status(), limits.statusChars);
    const lines = [
      ...(this.#toldAt === -Infinity ? ['READY=1'] : []),
      ...(text === this.#status ? [] : [`STATUS=${text}`]),
      ...(this.#beatMs === Infinity ? [] : ['WATCHDOG=1']),
    ];
    this.#tell(lines);
    this.#status = text;
    this.#toldAt = performance.now();
  }

  /** In how many milliseconds `working` is to be called again at the latest. */
  wantedInMs(): number {
    const afterMs = this.#untold ? this.#pauseMs() : this.#beatMs;
    return afterMs === Infinity ? Infinity : afterMs - this.#sinceToldMs();
  }

  /** The service ends; it may take a while. */
  stopping(): void {
    this.#tell(['STOPPING=1']);
  }

  #pauseMs(): number {
    return Math.min(limits.statusMs, this.#beatMs);
  }

  #sinceToldMs(): number {
    return performance.now() - this.#toldAt;
  }

  #tell(lines: readonly string[]): void {
    if (!this.#path || lines.length === 0) return;
    const socket = unixDatagrams(this.#path);
    socket.send(Buffer.from(lines.join('\n')), ({ message }) => {
      stderrLine(`systemd cannot be told ${lines.join(', ')}: ${message}`, '<4>');
    });
    socket.close();
  }
}
