import { countOf } from '../host/count-of.ts';
import { showDuration } from '../host/duration.ts';
import { openJournal, type Journal, type JournalEvents } from '../host/journal.ts';
import { priorities, type Sink } from '../host/systemd/journal-sink.ts';

/** What the LMTP server writes into the journal. */
export type IntakeJournal = Journal<typeof intakeEvents>;

export function intakeJournal(sink?: Sink): IntakeJournal {
  return openJournal(intakeEvents, { sink, prefix: INTAKE_PREFIX });
}

/** Begins the names of its events. */
export const INTAKE_PREFIX = 'intake_';

const HOST = 'appengine-mailer(8)';

export const intakeEvents = {
  started: {
    id: 'c5779eda0aec4cd99e1bb6c19c4155d4',
    priority: priorities.info,
    entry: (socket: string, folder: string) => ({
      text: `intake takes mail on ${socket} into the spool ${folder}`,
    }),
    subject: 'The LMTP server has started',
    manual: HOST,
    help: `
      Exim, or another mail server of this host, hands its mail over to this program, which stores it in
      the spool. While all is well it writes nothing about single messages: the id of each is in the log of
      the mail server.`,
  },
  stopped: {
    id: '02f5caad03c04f9c877d5aeb35ff9756',
    priority: priorities.info,
    entry: (socket: string, taken: number) => ({
      text: `intake on ${socket} stopped; it has taken ${countOf(taken, 'message')}`,
    }),
    subject: 'The LMTP server has stopped',
    manual: HOST,
    help: `
      The program was asked to end, and everything that it acknowledged is in the spool. Under systemd
      connections wait until it is started again, which the next connection does.`,
  },
  idle: {
    id: '5c389d78c16a45af865b8eb05e8bcf35',
    priority: priorities.info,
    entry: (socket: string, taken: number, idleMs: number) => ({
      text:
        `intake on ${socket} has taken ${countOf(taken, 'message')} and has had nothing to do for ` +
        `${showDuration(idleMs)}: it ends, and systemd starts it again with the next connection`,
    }),
    subject: 'The LMTP server rests until mail comes',
    manual: HOST,
    help: `
      There was no connection for some time, so the program has ended to take no memory. systemd holds its
      socket and starts it with the next connection. Nothing has to be done.`,
  },
  crowded: {
    id: 'ccee48c2a6b84e56a9cb1658898c0781',
    priority: priorities.warning,
    entry: (connections: number) => ({
      text: `intake has ${connections} connections and turns away others; their mail servers try again later`,
    }),
    subject: 'The LMTP server turns away connections',
    manual: HOST,
    help: `
      More connections are open at once than the program takes. The others are told to try again later, and
      their mail waits in the queue of the mail server. If this goes on, see which program opens them:
      ss -xp | grep intake.sock`,
  },
  spoolTakesNoMail: {
    id: '8d2e2f17b0c24c77a2cfdfd9e03e0142',
    priority: priorities.error,
    entry: (folder: string, text: string) => ({
      text: `the spool ${folder} takes no mail: ${text}`,
    }),
    subject: 'The spool takes no mail',
    manual: HOST,
    help: `
      Messages could not be stored in the spool. The line says why. They wait in the queue of the mail
      server, which hands them over again, and nobody is told that anything failed. As soon as the spool can be
      written it is used again, and that is told too.

      Look for a full disk (df -h, df -i), a read-only file system (dmesg), and wrong owners:
      all files in the folder belong to appengine-mailer:appengine-mailer. To see whether the spool is
      damaged: appengine-mailer queue fsck --check`,
  },
  spoolTakesMail: {
    id: 'e92193e8ba51478487dbc974e3f382af',
    priority: priorities.notice,
    entry: (folder: string) => ({ text: `the spool ${folder} takes mail again` }),
    subject: 'The spool takes mail again',
    manual: HOST,
    help: `
      What waits in the queue of the mail server is handed over again by and by. To have Exim do so at once:
      exim4 -qff`,
  },
} satisfies JournalEvents;
