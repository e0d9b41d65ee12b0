import type { Verb } from '../../src/spool/operate.ts';
import type { NetworkFault } from './network.ts';
import { Random } from './random.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How a relay, or the mail server of a host, behaves for a while. Probabilities are those of one step of a session. */
export interface Mood {
  /** A step takes from none to this, in milliseconds. */
  slowMs: number;
  temporary: number;
  permanent: number;
  /** It closes the connection without an answer. */
  closes: number;
  /** It says nothing any more. */
  silent: number;
  /** Connections at once; it refuses more with 421. */
  connections: number;
}

/** Something that happens in a world at a time, in milliseconds from its beginning. */
export type Happening = { at: number } & (
  | { kind: 'mail'; host: number; messages: number; recipients: number; nullSender: boolean }
  | { kind: 'network'; where: string; fault: NetworkFault; forMs: number }
  | { kind: 'kill'; who: string; startsAfterMs: number }
  | { kind: 'restart'; host: number }
  | { kind: 'suspend'; who: string; forMs: number }
  | { kind: 'crash'; who: string; when: 'before' | 'after'; commits: number }
  | { kind: 'clock'; who: string; byMs: number; drift: number }
  | { kind: 'full'; who: string; forMs: number }
  | { kind: 'mood'; where: string; mood: Mood; forMs: number }
  | { kind: 'vanish'; proxy: number }
  | { kind: 'restore'; host: number; agoMs: number }
  | { kind: 'operator'; host: number; verb: Verb }
);

/** Everything that is decided of a world before it begins. */
export interface Story {
  seed: number;
  /** Each host's proxy, or the first of its proxies. */
  hosts: number[];
  proxies: number;
  /**
   * Whether hosts name several proxies: each proxy of the world at two addresses, which have one ledger and are struck
   * one by one. The second address is called proxyN-b.
   */
  several?: boolean;
  /** One way, in milliseconds, from hosts to their proxies and from proxies to their relay. */
  latencyMs: { proxies: number[]; relays: number[] };
  relayConnections: number;
  reportsPerHour: number;
  restartMs: number;
  happenings: Happening[];
}

/** More than anybody opens. */
export const UNLIMITED = 10_000;

export const calm: Mood = {
  slowMs: 20,
  temporary: 0,
  permanent: 0,
  closes: 0,
  silent: 0,
  connections: UNLIMITED,
};

/** Makes up a world. */
export function inventStory(seed: number): Story {
  const random = new Random(seed);
  const hosts = 1 + random.below(3);
  const proxies = 1 + random.below(Math.min(2, hosts));
  const story: Story = {
    seed,
    hosts: Array.from({ length: hosts }, () => random.below(proxies)),
    proxies,
    several: new Random(seed ^ 0x5e7).chance(0.4),
    latencyMs: {
      proxies: Array.from({ length: proxies }, () => random.between(1, 500)),
      relays: Array.from({ length: proxies }, () => random.between(1, 200)),
    },
    relayConnections: random.pick([1, 2, 5, 20]),
    reportsPerHour: random.pick([1, 3, 20]),
    restartMs: random.between(100, 10 * MINUTE),
    happenings: [],
  };
  const lengthMs = random.between(10 * SECOND, 6 * HOUR);
  const faults = random.below(12);
  const bursts = 1 + random.below(4);
  const time = () => Math.floor(random.next() * lengthMs);
  for (let burst = 0; burst < bursts; burst += 1) {
    story.happenings.push({
      at: time(),
      kind: 'mail',
      host: random.below(hosts),
      messages: random.between(1, 25),
      recipients: random.between(1, 5),
      nullSender: random.chance(0.1),
    });
  }
  // Some worlds have two kinds of faults at most, or only other moods of relays: there the laws leave less room.
  const kinds = random.pick([
    faultKinds,
    [random.pick(faultKinds), random.pick(faultKinds)],
    ['mood'] as const,
  ]);
  for (let fault = 0; fault < faults; fault += 1) {
    story.happenings.push({ at: time(), ...MAKERS[random.pick(kinds)](random, story) });
  }
  story.happenings.sort((one, other) => one.at - other.at);
  return story;
}

type Untimed = Happening extends infer Each
  ? Each extends unknown
    ? Omit<Each, 'at'>
    : never
  : never;

function anyProgram(random: Random, { hosts, proxies }: Story): string {
  return random.chance(0.5) ? `host${random.below(hosts.length)}` : `proxy${random.below(proxies)}`;
}

function anyProxyAddress(random: Random, { proxies, several }: Story): string {
  const proxy = `proxy${random.below(proxies)}`;
  return several && random.chance(0.5) ? `${proxy}-b` : proxy;
}

function anyPlace(random: Random, story: Story): string {
  const { hosts, proxies } = story;
  return random.pick([
    anyProxyAddress(random, story),
    `relay${random.below(proxies)}`,
    `mail.host${random.below(hosts.length)}`,
  ]);
}

/** One row a kind of fault, which makes it up: a new kind is a new row, and a case in World. */
const MAKERS: {
  [Kind in Exclude<Happening['kind'], 'mail'>]: (random: Random, story: Story) => Untimed;
} = {
  network: (random, story) => {
    const fault = random.pick(['refused', 'silent', 'cut', 'doubled'] as const);
    // What arrives twice at an SMTP server is two messages, whatever we do.
    const where = fault === 'doubled' ? anyProxyAddress(random, story) : anyPlace(random, story);
    return { kind: 'network', where, fault, forMs: random.between(SECOND, 2 * HOUR) };
  },
  kill: (random, story) => ({
    kind: 'kill',
    who: anyProgram(random, story),
    startsAfterMs: random.between(100, HOUR),
  }),
  restart: (random, story) => ({ kind: 'restart', host: random.below(story.hosts.length) }),
  suspend: (random, story) => ({
    kind: 'suspend',
    who: anyProgram(random, story),
    forMs: random.between(SECOND, 2 * HOUR),
  }),
  crash: (random, story) => ({
    kind: 'crash',
    who: anyProgram(random, story),
    when: random.pick(['before', 'after'] as const),
    commits: 1 + random.below(12),
  }),
  clock: (random, story) => ({
    kind: 'clock',
    who: anyProgram(random, story),
    byMs: random.pick([-1, 1]) * random.between(SECOND, 400 * DAY),
    drift: random.chance(0.3) ? random.pick([0.5, 0.99, 1.01, 3]) : 1,
  }),
  full: (random, story) => ({
    kind: 'full',
    who: anyProgram(random, story),
    forMs: random.between(SECOND, HOUR),
  }),
  mood: (random, story) => ({
    kind: 'mood',
    where: random.chance(0.8)
      ? `relay${random.below(story.proxies)}`
      : `mail.host${random.below(story.hosts.length)}`,
    forMs: random.between(MINUTE, 4 * HOUR),
    mood: {
      slowMs: random.between(random.pick([1, 10 * SECOND]), 290 * SECOND),
      temporary: random.chance(0.3) ? random.next() * 0.5 : 0,
      permanent: random.chance(0.2) ? random.next() * 0.3 : 0,
      closes: random.chance(0.2) ? random.next() * 0.2 : 0,
      silent: random.chance(0.1) ? random.next() * 0.1 : 0,
      connections: random.chance(0.2) ? 1 + random.below(3) : UNLIMITED,
    },
  }),
  vanish: (random, story) => ({ kind: 'vanish', proxy: random.below(story.proxies) }),
  restore: (random, story) => ({
    kind: 'restore',
    host: random.below(story.hosts.length),
    agoMs: random.between(SECOND, 3 * HOUR),
  }),
  operator: (random, story) => ({
    kind: 'operator',
    host: random.below(story.hosts.length),
    verb: random.pick(['hold', 'release', 'retry', 'delete', 'bounce', 'return'] as const),
  }),
};

/** The kinds of faults that worlds have. */
export const faultKinds = Object.keys(MAKERS) as (keyof typeof MAKERS)[];

/** The proxies that a host names, by their numbers, in its order. */
export function proxiesOf({ hosts, proxies, several }: Story, host: number): number[] {
  const first = hosts[host] ?? 0;
  if (!several) return [first];
  return [first, ...Array.from({ length: proxies }, (_, n) => n).filter((n) => n !== first)];
}

/** When all faults of a story are over. */
export function faultsEnd({ happenings }: Story): number {
  return Math.max(
    0,
    ...happenings.map(
      (each) =>
        each.at +
        ('forMs' in each ? each.forMs : 0) +
        ('startsAfterMs' in each ? each.startsAfterMs : 0),
    ),
  );
}
