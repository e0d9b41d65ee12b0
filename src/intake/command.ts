import { command } from '../host/command.ts';
import { sleep, systemClock } from '../host/clock.ts';
import { ValueError, wholeNumber } from '../host/option-values.ts';
import type { OptionTable } from '../host/options.ts';
import { unixPathFault } from '../host/net/unix-path.ts';
import { stopSignal } from '../host/stop-signal.ts';
import { SdNotify } from '../host/systemd/sd-notify.ts';
import { systemdSockets } from '../host/systemd/systemd-sockets.ts';
import { limits } from '../limits.ts';
import { becomeOwnerOfSpool, spoolOption } from '../spool/with-spool.ts';
import { intakeJournal } from './intake-journal.ts';
import { LmtpServer } from './lmtp-server.ts';
import { SpoolWriter } from './spool-writer.ts';

/** Options of intake, all of which are also variables. */
const intakeOptions = {
  spool: spoolOption,
  socket: {
    value: 'PATH',
    parse: parseSocket,
    default: '/run/appengine-mailer/intake.sock',
    describe: 'Unix socket on which to take mail, where systemd hands over none',
  },
  'max-size': {
    value: 'BYTES',
    parse: wholeNumber(1, limits.messageBytes),
    default: String(limits.messageBytes),
    describe: 'Largest message that is taken',
  },
} as const satisfies OptionTable;

/** `appengine-mailer intake`: the LMTP server through which mail comes into the spool. */
export const intakeCommand = command({
  name: 'intake',
  describe: 'Take mail by LMTP into the spool',
  isService: true,
  settings: intakeOptions,
  run: async ({ spool: folder, socket, maxSize: bytesMax }) => {
    await becomeOwnerOfSpool(folder);
    const [journal, notify, stop] = [intakeJournal(), new SdNotify(), stopSignal()];
    const clock = systemClock;
    const writer = new SpoolWriter(folder, journal, clock);
    const server = new LmtpServer({ writer, bytesMax, journal, clock });
    const handedOver = systemdSockets();
    const isHandedOver = handedOver.length > 0;
    await server.start({ wanted: isHandedOver ? undefined : { path: socket }, handedOver });
    const where = isHandedOver ? 'the socket of systemd' : socket;
    journal.started(where, folder);
    // Only systemd starts it again, with the next connection.
    const endMs = isHandedOver ? limits.intakeEndMs : Infinity;
    const status = () => writer.trouble ?? `takes mail on ${where}; ${server.taken} messages taken`;
    while (!stop.aborted && server.idleMs < endMs) {
      notify.working(status);
      const waitMs = Math.min(limits.lookMs, notify.wantedInMs(), endMs - server.idleMs);
      await sleep(clock, waitMs, { signal: stop });
    }
    notify.stopping();
    await server.stop();
    writer.close();
    if (stop.aborted) journal.stopped(where, server.taken);
    else journal.idle(where, server.taken, endMs);
  },
});

/** Throws ValueError. */
function parseSocket(text: string): string {
  const fault = unixPathFault(text);
  if (fault === undefined) return text;
  throw new ValueError(`cannot be ${text}: ${fault}`);
}
