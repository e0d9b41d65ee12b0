import { EventEmitter, once } from 'node:events';

/** An answer that comes when `answer` is called; `taken` resolves when somebody waits for it. */
export function lateAnswer<T>(given: T): {
  taken: Promise<unknown>;
  answer: () => void;
  reply: () => Promise<T>;
} {
  const waits = latch();
  const answered = latch();
  return {
    taken: waits.opened,
    answer: answered.open,
    reply: async () => {
      waits.open();
      await answered.opened;
      return given;
    },
  };
}

function latch(): { opened: Promise<unknown>; open: () => void } {
  const events = new EventEmitter();
  return { opened: once(events, 'open'), open: () => events.emit('open') };
}
