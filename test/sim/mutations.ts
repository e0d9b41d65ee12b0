import { limits } from '../../src/limits.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { World } from './world.ts';

/** Ways to break the product on purpose, and the laws that a few worlds must find broken by each. */
export const mutations: Record<string, { breaks: RegExp; mutate: () => void }> = {
  /** Each step of a relay had so little time before the limits of RFC 5321 4.5.3.2 were kept. */
  'short limits': {
    breaks: /^law (?:6|7|13): /,
    mutate: () => {
      const ms = 45_000;
      Object.assign(limits, {
        smtpCommandMs: ms,
        smtpDataMs: ms,
        smtpDotMs: ms,
        deliveryMs: 50_000,
      });
    },
  },
  /** What should be observed time follows the wall clock (law 12). */
  'wall clock': {
    breaks: /^law (?:5|6|7|12|13): /,
    mutate: () => {
      const original = Reflect.get<World, 'machineOf'>(World.prototype, 'machineOf');
      World.prototype.machineOf = function (this: World, owner) {
        const program = original.call(this, owner);
        const { machine } = program;
        machine.now = () => machine.wallNow();
        return program;
      };
    },
  },
  /** Nothing is committed before the backend is called (law 6). */
  'not begun': {
    breaks: /^law 6: /,
    mutate: () => {
      SqliteLedger.prototype.begin = async () => new Map();
    },
  },
  /** Nobody asks the ledger what was sent (law 6). */
  'not looked up': {
    breaks: /^law 6: /,
    mutate: () => {
      const begin = Reflect.get<SqliteLedger, 'begin'>(SqliteLedger.prototype, 'begin');
      SqliteLedger.prototype.known = async () => new Map();
      SqliteLedger.prototype.begin = async function blindly(this: SqliteLedger, ...post) {
        await begin.apply(this, post);
        return new Map();
      };
    },
  },
};
