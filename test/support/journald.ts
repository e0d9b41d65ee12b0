import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { inNamespace, type Inside } from './mounted.ts';
import { JOURNALD } from './needs.ts';
import { DIES_WITH_TEST, run, start, type Program } from './program.ts';

/** An entry of the journal, as `journalctl -o json` has it: a field that is repeated is a list. */
export type JournalEntry = Partial<Record<string, string | string[]>>;

/** A journald of the test's own, in a namespace of mounts where it is the only one. It needs root. */
export class Journald {
  readonly #t: TestContext;
  readonly #inside: Inside;

  private constructor(t: TestContext, inside: Inside) {
    this.#t = t;
    this.#inside = inside;
  }

  static async start(t: TestContext): Promise<Journald> {
    const journald = ['setpriv', ...DIES_WITH_TEST, JOURNALD, NAME].join(' ');
    const mount = `mount -t tmpfs tmpfs "$1" && mount -t tmpfs tmpfs "$2" &&
      mkdir -p "$1/systemd/journal" "$1/systemd/journal.${NAME}" && { ${journald} & } &&
      until [ -S "$1/systemd/journal.${NAME}/stdout" ]; do sleep 0.1; done &&
      mount --bind "$1/systemd/journal.${NAME}" "$1/systemd/journal"`;
    return new Journald(t, await inNamespace(t, mount, '/run', '/var/log'));
  }

  /**
   * Starts a program whose standard error is the journal's; `native` is whether it is told so, as systemd
   * tells its services.
   */
  logged(native: boolean, file: string, args: readonly string[], env: NodeJS.ProcessEnv): Program {
    const told = native ? 'export JOURNAL_STREAM="$(stat -L -c %d:%i /dev/fd/2)";' : '';
    const shell = ['/bin/sh', '-c', `${told} exec "$@"`, 'sh', file, ...args];
    return start(this.#t, ...this.#inside('systemd-cat', '--priority=info', ...shell), { env });
  }

  /** All its entries but those that journald makes itself. */
  async entries(): Promise<JournalEntry[]> {
    await this.#journalctl('--sync');
    const text = await this.#journalctl('--all', '--output=json');
    const entries = text.split('\n').filter((line) => line !== '');
    return entries
      .map((line) => JSON.parse(line) as JournalEntry)
      .filter((entry) => entry['_TRANSPORT'] !== 'driver');
  }

  async #journalctl(...args: readonly string[]): Promise<string> {
    const words = this.#inside('journalctl', `--namespace=${NAME}`, '--quiet', ...args);
    const { code, stdout, stderr } = await run(this.#t, ...words);
    assert.equal(code, 0, stderr);
    return stdout.toString();
  }
}

/** Of the journal namespace: such a journald reads neither the kernel's messages nor another's sockets. */
const NAME = 'test';
