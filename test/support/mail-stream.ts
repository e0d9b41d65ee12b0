import assert from 'node:assert/strict';
import type { Machine } from './machine.ts';

/** Hands Exim five messages a second, notes those that it took, and goes on where it stopped. */
const SCRIPT = `#!/bin/sh
n=$(tail -n 1 /root/accepted 2>/dev/null || true)
n=$((\${n:-0} + 1))
while [ ! -e /run/stream-ends ]; do
  printf 'From: alice@example.org\\nSubject: number %s\\n\\nbody %s\\n' $n $n |
    /usr/sbin/sendmail -f alice@example.org "n$n@remote.example" && echo $n >>/root/accepted
  n=$((n + 1))
  sleep 0.2
done
`;

/** A constant stream of mail in a machine, numbered, so that at the end each can be accounted for. */
export class MailStream {
  readonly #machine: Machine;
  #stopped: Promise<unknown> | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
    machine.write('/root/stream', SCRIPT, 0o755);
  }

  /** Begins, or goes on after a restart of the machine. */
  async start(): Promise<void> {
    this.#stopped = this.#machine.try('rm -f /run/stream-ends; exec /root/stream');
    await this.more(1);
  }

  /** Waits until Exim took so many more. */
  async more(messages: number): Promise<void> {
    const wanted = this.#count() + messages;
    await this.#machine.until(`test $(wc -l </root/accepted) -ge ${wanted}`, 120);
  }

  async stop(): Promise<void> {
    await this.#machine.sh('touch /run/stream-ends');
    await this.#stopped;
  }

  /**
   * Waits until all queues are empty and holds what was delivered against what was accepted: none lost,
   * none doubled, none bounced. The proxy must be the machine's own, with the file backend.
   */
  async account(): Promise<number> {
    const machine = this.#machine;
    await machine.until(
      'exim4 -qff; test "$(exim4 -bpc)" = 0 && ' +
        'appengine-mailer queue stats --json | grep -q \'"queued":0,"sending":0\'',
      120,
    );
    const accepted = machine.read('/root/accepted').toString().trim().split('\n');
    const delivered = (await machine.sh(`grep -ho 'n[0-9]*@remote.example' ${DELIVERED}/*.json`))
      .trim()
      .split('\n')
      .map((address) => address.slice(1).split('@')[0] ?? '');
    const counts = new Map<string, number>();
    for (const number of delivered) counts.set(number, (counts.get(number) ?? 0) + 1);
    const lost = accepted.filter((number) => !counts.has(number));
    const doubled = [...counts].filter(([, times]) => times > 1);
    const { output: bounced } = await machine.try("grep -h ' \\*\\* ' /var/log/exim4/mainlog*");
    assert.deepEqual({ lost, doubled, bounced }, { lost: [], doubled: [], bounced: '' });
    return accepted.length;
  }

  #count(): number {
    try {
      return this.#machine.read('/root/accepted').toString().trim().split('\n').length;
    } catch {
      return 0;
    }
  }
}

const DELIVERED = '/var/lib/appengine-mailer-proxy/delivered';
