import { countOf } from '../host/count-of.ts';
import { showDuration } from '../host/duration.ts';
import { openJournal, type Journal, type JournalEvents } from '../host/journal.ts';
import { keyFaultText, type KeyFault } from '../host/key-faults.ts';
import { recipientsText } from '../host/recipients-text.ts';
import { priorities, type Sink } from '../host/systemd/journal-sink.ts';
import { limits } from '../limits.ts';
import { addressList, addressText } from '../mail/address-list.ts';
import { cut } from '../mail/cut.ts';
import { statusClass } from '../mail/enhanced-status.ts';
import { logGrownHelp, logGrownRemedy, logGrownText } from '../sqlite/watch-log.ts';
import { metricsEvents } from '../watch/metrics-events.ts';
import type { Verdict } from '../wire/verdicts.ts';
import { ledgerCommandLine } from './ledger/ledger-command-line.ts';
import type { PostedMessage } from './ledger/message-name.ts';

/** What the proxy writes into the journal. The names of its events begin with PREFIX. */
export type ProxyJournal = Journal<typeof proxyEvents>;

export function proxyJournal(sink?: Sink): ProxyJournal {
  return openJournal(proxyEvents, { prefix: PREFIX, sink });
}

export const PREFIX = 'proxy_';
const PROXY = 'appengine-mailer-proxy(8)';
const LEDGER = 'appengine-mailer-ledger(8)';

export const proxyEvents = {
  started: {
    id: '9d895d40a5e059bc6c24a7289191d7cc',
    priority: priorities.info,
    /** `about`: the backend, with the relay, and who may send. */
    entry: (
      address: string,
      about: string,
      {
        ledger,
        keys,
        softBounce,
      }: { ledger: { name: string; isEmpty: boolean }; keys: number; softBounce: boolean },
    ) => {
      // An empty one may be a wrong path: what was sent before would be sent again.
      const ledgerText = `${ledger.name}${ledger.isEmpty ? ' (empty)' : ''}`;
      return {
        text:
          `proxy listens on ${address}, ${about}, ledger ${ledgerText}, ${countOf(keys, 'key')}` +
          (softBounce ? '; --soft-bounce is on: nothing is refused for good' : ''),
      };
    },
    subject: 'The mail proxy has started',
    manual: PROXY,
    help: `
      The line says where the proxy listens, and names the backend, its relay and who may send. "nothing
      leaves this machine" means that all mail is kept in a folder or thrown away. To have it sent on, set
      APPENGINE_MAILER_BACKEND=smtp and APPENGINE_MAILER_SMTP_HOST in
      /etc/default/appengine-mailer-proxy. If the ledger is said to be empty on a machine that sent mail
      before, its path is wrong: messages that were sent may then be sent again.`,
  },
  nameless: {
    id: '1740da233ee75749dcfa2aa3cc2f1777',
    priority: priorities.warning,
    /** The machine has no name that the proxy could give in EHLO. */
    entry: (text: string, remedy: string) => ({ text: `${text}. To do: ${remedy}` }),
    subject: 'The mail proxy does not know the name of its machine',
    manual: PROXY,
    help: `
      An SMTP client gives its fully qualified name in EHLO. This machine has none, so the proxy gives the
      address of its end of the connection. That is allowed, but some relays refuse all mail then, and
      others distrust it. To see the name of the machine: hostname -f. Write the name into /etc/hosts, or
      set APPENGINE_MAILER_SMTP_NAME in /etc/default/appengine-mailer-proxy, and then:
      systemctl restart appengine-mailer-proxy`,
  },
  stopped: {
    id: '884e4b51e8578622e4606d24ba46cedb',
    priority: priorities.info,
    entry: (address: string) => ({ text: `proxy on ${address} stopped` }),
    subject: 'The mail proxy has stopped',
    manual: PROXY,
    help: `
      The proxy was asked to end. The hosts keep their mail until it is started again:
      systemctl start appengine-mailer-proxy`,
  },
  listensElsewhere: {
    id: '185c655f51a3c5e8ac0385f04a4d8838',
    priority: priorities.warning,
    /** The socket unit of systemd holds addresses that are not the one of --listen. */
    entry: (addresses: readonly string[]) => ({
      text:
        `attention: systemd holds ${addresses.join(', ')} for the proxy, which therefore listens there besides the ` +
        'address that --listen names. To do: systemctl daemon-reload, then systemctl restart appengine-mailer-proxy.socket',
    }),
    subject: 'The mail proxy listens on more addresses than it was told to',
    manual: PROXY,
    help: `
      appengine-mailer-proxy.socket holds an address for the proxy that is not APPENGINE_MAILER_LISTEN in
      /etc/default/appengine-mailer-proxy: the setting was changed since. The proxy listens on both. To
      give up the old address:
      systemctl daemon-reload && systemctl restart appengine-mailer-proxy.socket`,
  },
  verdicts: {
    id: '0362a15832437e82322a74ea7167d9a8',
    priority: priorities.info,
    /** The proxy's answer to a post. */
    entry: (message: PostedMessage, sender: string, verdicts: readonly Verdict[]) => {
      const recipients = verdicts.map(({ recipient, status, reason, inProgress, sentBefore }) => ({
        address: recipient,
        state: inProgress ? 'in progress' : (statusClass(status) ?? 'deferred'),
        status,
        reason,
        sentBefore,
      }));
      return {
        text: `${nameOf(message)} from ${addressText(sender)}: ${recipientsText(recipients)}`,
        fields: {
          ...nameFields(message),
          MAIL_RECIPIENT: recipients.map(({ address }) => address),
          MAIL_STATUS: [...new Set(recipients.map(({ status }) => status))],
        },
      };
    },
    subject: 'The proxy answered for message @MAIL_ID@',
    manual: PROXY,
    help: `
      The message was given to the backend, and the host got the verdict for each recipient: 2.x.x sent,
      4.x.x deferred, 5.x.x failed. A recipient that "was sent before" was posted again, and was not sent a
      second time, because the ledger knew it. Nothing has to be done here. The journal of the host has
      the same message under the same MAIL_ID.`,
  },
  unknown: {
    id: 'aa80e848491f69c5a2703a184708f32c',
    priority: priorities.warning,
    /** The backend may have sent it or not; the ledger lists it, and the next post sends it again. */
    entry: (message: PostedMessage, recipients: readonly string[], reason: string) => ({
      text:
        `${nameOf(message)} to ${addressList(recipients)}: it cannot be known whether this was sent: ` +
        `${reason}; the next post sends it again`,
      fields: { ...nameFields(message), MAIL_RECIPIENT: recipients },
    }),
    subject: 'It is not known whether message @MAIL_ID@ was sent',
    manual: PROXY,
    help: `
      The backend may have taken message @MAIL_ID@ for @MAIL_RECIPIENT@ (and others, if the line names
      more), but its answer never came. The host posts the message again and it is then sent again: a
      recipient may get it twice, but does not miss it. The ledger lists it:
      appengine-mailer-proxy ledger show @MAIL_ID@`,
  },
  unknownListed: {
    id: 'c10a52f02f894e7ca4973c6d9139b5e1',
    priority: priorities.warning,
    /**
     * At the start: so many recipients are listed as unknown; `found` of them are new, because a proxy died while the
     * backend had them.
     */
    entry: (file: string, { listed, found }: { listed: number; found: number }) => {
      const recipients = `${countOf(listed, 'recipient')}${listed < limits.unknownCounted ? '' : ' or more'}`;
      const fresh =
        found === 0 ? '' : `, ${found} of them since the proxy ended before the backend answered`;
      return {
        text:
          `${recipients} may have been sent to or not${fresh}. A message that is posted again is sent again. ` +
          `To list them: ${ledgerCommandLine('list', file)}`,
        ...(found === 0 ? { priority: priorities.info } : {}),
      };
    },
    subject: 'The ledger lists recipients for whom it is unknown whether the message was sent',
    manual: LEDGER,
    help: `
      The backend was given a message for these recipients, and its answer is not known: the connection
      broke, or the proxy ended before the answer came, or the ledger was damaged. The line says how many
      there are, and how many are new since the proxy ran last. Their hosts post the messages again, and
      they are then sent again: a recipient may get a message twice, but does not miss it. This entry is
      written at each start. The ledger forgets them after 30 days.

      To list them, and whether they were sent again: appengine-mailer-proxy ledger list`,
  },
  refused: {
    id: '135f3cc69649ee3151023c15baae3ee4',
    priority: priorities.warning,
    /** A request that was not taken; `key`: the name of the key that it was signed with, if it has one. */
    entry: ({
      from,
      id,
      status,
      reason,
      key = '',
    }: {
      from: string;
      id: string | undefined;
      status: number;
      reason: string;
      key?: string | undefined;
    }) => ({
      text: `request from ${from}${key === '' ? '' : ` with key ${key}`} refused with ${status}: ${reason}`,
      fields: {
        MAIL_ID: id,
        MAIL_STATUS: status,
        MAIL_KEY: key === '' ? undefined : key,
        MAIL_CLIENT: from,
      },
    }),
    subject: 'A request to the mail proxy was refused',
    manual: PROXY,
    help: `
      A request was answered with the HTTP status @MAIL_STATUS@. The line names the client and says why:
      401 is a wrong key or clock at the client, 400 a request that the proxy does not understand, 413 a
      message that is too large, 429 more than --rate allows, 503 trouble of the proxy itself. Requests
      from clients that are not yours can be ignored.`,
  },
  strangers: {
    id: '08afc274f10477c077dc335e6eec9bed',
    priority: priorities.warning,
    /** Requests without a key of the proxy that have no entry of their own. */
    entry: (count: number) => ({
      text: `${countOf(count, 'more request')} without a key of this proxy refused within ${limits.unauthenticatedLinesMs / 1000} s`,
    }),
    subject: 'Requests without a key of the mail proxy were refused',
    manual: PROXY,
    help: `
      In one minute so many requests without a right key were refused that not each has an entry of its
      own. The entries before name some of the clients. If they are not yours, let the web server or a
      firewall in front of the proxy block them.`,
  },
  busy: {
    id: '21558d8fdc47969f84a9ebad18f3e12b',
    priority: priorities.info,
    /** Posts were told to come later, because nothing could be begun with them in time. */
    entry: (text: string) => ({
      text: `${text}: hosts are told to post less for now, and their mail waits in their queues`,
    }),
    subject: 'The relay is slower than the mail that comes',
    manual: PROXY,
    help: `
      All connections to the relay were in use for so long that hosts were told to post less for now.
      Their mail waits in their queues and is sent as the relay takes it. If the relay allows more
      connections, raise --smtp-connections. This entry is written every 10 minutes at most.`,
  },
  paced: {
    id: 'a3909872927e457cad0ad608a9b46824',
    priority: priorities.notice,
    /** A quota of --pace or --pace-day is used up; `text` says until when. */
    entry: (text: string) => ({
      text: `${text}: hosts are told to post again then, and their mail waits in their queues`,
    }),
    subject: 'A quota of the provider is used up, and mail waits for it',
    manual: PROXY,
    help: `
      --pace or --pace-day limits how many recipients the backend is given, and more mail comes than that.
      The line says when the next is sent. Nothing is lost, and nothing has to be done, unless the provider
      allows more: then raise the quota in /etc/default/appengine-mailer-proxy. This entry is written once
      until then, and every 10 minutes at most.`,
  },
  throttled: {
    id: 'b42c39b4d87e4a3d8a7d18d9a82aabe1',
    priority: priorities.warning,
    /** The provider takes less than it was given. */
    entry: (text: string) => ({
      text: `the provider gets more than it takes, and is given less for now: ${text}`,
    }),
    subject: 'The relay or provider throttles this proxy',
    manual: PROXY,
    help: `
      The relay or provider has refused mail because it got too much in a short time, or in a day. The line
      has its answer. The proxy pauses, longer each time, then sends less, and hosts are told to post again
      later. Nothing is lost. To stay below the limits of your account, set APPENGINE_MAILER_PACE and
      APPENGINE_MAILER_PACE_DAY in /etc/default/appengine-mailer-proxy. This entry is written every hour at
      most.`,
  },
  notPruned: {
    id: '3e9173edfcf7413e921ae986c45b4db3',
    priority: priorities.error,
    /** Mail goes on, and the ledger grows. */
    entry: (text: string) => ({
      text: `attention: what is older than 30 days cannot be removed from the ledger: ${text}`,
    }),
    subject: 'The mail proxy cannot remove old entries from its ledger',
    manual: PROXY,
    help: `
      Mail goes on, and the ledger grows. The line says what is wrong: a full disk, or damage.`,
  },
  trouble: {
    id: '10f494ddd5f76c71fb97b37efb5e7fbb',
    priority: priorities.error,
    /** The ledger or the backend fails: nothing is taken until it works again. */
    entry: (text: string) => ({ text: `attention: no mail is taken: ${text}` }),
    subject: 'The mail proxy takes no mail',
    manual: PROXY,
    help: `
      The ledger or the backend fails. The line says how. Posts are answered with 503, so that the hosts
      keep their mail and post it again.

      Look for a full disk, and check the relay of the smtp backend: its name, port, certificate and
      password. After a change of the settings: systemctl restart appengine-mailer-proxy`,
  },
  keys: {
    id: 'd0bc7f5ecd0a02f214be2683427223d4',
    priority: priorities.notice,
    /** The keys were read again, and these are valid from now on. */
    entry: (keys: number) => ({
      text: `the keys were read again: ${countOf(keys, 'key')} in force`,
    }),
    subject: 'The keys of the mail proxy were read again',
    manual: PROXY,
    help: `
      The keys that are in the file now are in force, and no others.`,
  },
  keyUnsafe: {
    id: 'c3634802977a412abb74fdd849ea1e2f',
    priority: priorities.warning,
    /** A key works, but can be guessed or be read by every user, as can a password of the backend; written at each start. */
    entry: (fault: KeyFault) => ({ text: keyFaultText(fault) }),
    subject: 'A key of the mail proxy is not safe',
    manual: PROXY,
    help: `
      A key is so short that it can be guessed, or every user of this machine can read the file with the
      keys. Anybody who has the key can send as its host. The key goes on working, and this entry is
      written at each start.

      Make a key with: openssl rand -base64 32. Add it to /etc/envdir/GMAIL_SECRET_KEYS (root, mode 0600)
      below a line "# name HOST" like that of the old key, and systemctl reload appengine-mailer-proxy.
      Put it into /etc/envdir/GMAIL_SECRET_KEY on the host, and systemctl restart appengine-mailer there.
      Then remove the old key and reload again.

      A "secret" in the line is a password or token of the relay or provider: exchange it there.`,
  },
  keysTrouble: {
    id: '54431e8ec8a21b2c3f68719eb65255bc',
    priority: priorities.error,
    /** New keys cannot be used: those that are in force stay so. */
    entry: (text: string) => ({
      text: `attention: the keys cannot be read again, and the old ones stay in force: ${text}`,
    }),
    subject: 'New keys of the mail proxy cannot be used',
    manual: PROXY,
    help: `
      The keys were to be read again and could not be, so the old ones stay in force. The line says why.
      Correct /etc/envdir/GMAIL_SECRET_KEYS (one key a line), and then:
      systemctl reload appengine-mailer-proxy`,
  },
  ...metricsEvents({
    metricsServed: '86980422220a4b419e4946b0553e9271',
    metricsUnavailable: '90c9729bf3384da6a427dae929ee0118',
  }),
  senderFixed: {
    id: '79548086096b68a4c665272d1d76fad6',
    priority: priorities.notice,
    /** A sender that is not allowed was replaced in the envelope and in From, as the client or an option asked. */
    entry: (message: PostedMessage, sender: string, offending: string, defaultSender: string) => ({
      text:
        `${nameOf(message)} from ${addressText(sender)}: '${cut(offending, limits.addressBytes)}' is not an allowed sender; ` +
        `sent as ${addressText(defaultSender)}`,
      fields: nameFields(message),
    }),
    subject: 'Message @MAIL_ID@ was sent as the default sender',
    manual: PROXY,
    help: `
      The sender or author of message @MAIL_ID@ may not send here. As its client or --fix-sender asked,
      the default sender replaced it, and the author moved to Reply-To. To allow a sender: --allow-sender,
      or "# allow-sender" above a key.`,
  },
  headersDropped: {
    id: 'f0a258e798010084ed7e76fbb778e31e',
    priority: priorities.info,
    /** Header fields that the backend has no place for. */
    entry: (message: PostedMessage, names: readonly string[]) => {
      const named = names.slice(0, limits.namedHeaders).join(', ');
      const more = names.length - limits.namedHeaders;
      return {
        text: `${nameOf(message)}: sent without ${named}${more > 0 ? ` and ${more} more` : ''}, which the Mail API does not take`,
        fields: nameFields(message),
      };
    },
    subject: 'Header fields of message @MAIL_ID@ could not be sent on',
    manual: PROXY,
    help: `
      App Engine's Mail API takes fields and not a message, and knows only a few header fields. Those that
      the line names were left out. All else was sent. The smtp backend sends messages whole.`,
  },
  unreadable: {
    id: '290b1f833f4642638283536bf08ac07c',
    priority: priorities.warning,
    /** A message that the backend cannot read, although it may be in order: it waits. */
    entry: (message: PostedMessage, reason: string) => ({
      text: `${nameOf(message)}: it waits, since the message cannot be taken apart: ${reason}`,
      fields: nameFields(message),
    }),
    subject: 'Message @MAIL_ID@ cannot be taken apart, and waits',
    manual: PROXY,
    help: `
      App Engine's Mail API takes fields and not a message, and the proxy cannot make fields of this
      message: that took too long, or failed because of a defect of the proxy, which you may report. The
      host posts the message again for days. On that host, appengine-mailer queue explain @MAIL_ID@
      describes it, and queue return gives it back to Exim. The smtp backend sends messages whole.`,
  },
  ledgerReplaced: {
    id: '7ad2260803ccd897053396ddc4e39f34',
    priority: priorities.error,
    /** Other programs find another ledger by its name, or none: the proxy ends, and is started again on what is there. */
    entry: (text: string) => ({
      text:
        `attention: ${text}: the proxy ends and is started again on what is there; a ledger that ` +
        'is older has forgotten what was sent since then, and sends it again if it is posted again',
    }),
    subject: 'Files of the ledger were removed or replaced while the proxy used them',
    manual: PROXY,
    help: `
      The ledger is three files while it is in use: ledger.db, ledger.db-wal and ledger.db-shm. Somebody
      removed or replaced one of them. The proxy finishes what it has taken and ends, and systemd starts
      it again on what is there now. A ledger that was removed or is older has forgotten what was sent
      since then: if such a message is posted again, it is sent again. Stop the proxy before you touch
      its ledger: systemctl stop appengine-mailer-proxy.socket appengine-mailer-proxy`,
  },
  databaseLost: {
    id: '1d4f0c8f6b2e4d0c9a57e3b1c86f2d94',
    priority: priorities.warning,
    /** Nothing is begun until it is back. Told for each reason, and again while it lasts. */
    entry: (ledger: string, text: string) => ({
      text: `attention: the database of the ledger ${ledger} cannot be used: posts are answered with 503 until it can: ${text}`,
    }),
    subject: 'The proxy has no database for its ledger',
    manual: PROXY,
    help: `
      Nothing is taken while the proxy cannot write down what it sends: posts are answered with 503, and the
      hosts keep the mail. Messages that the backend has are sent, and the results are written down when the
      connection is back. If that takes longer than --take-over while other proxies have the database, they
      list these messages as unknown.

      If the line says that the database has another ledger, or none, PGHOST or PGDATABASE lead to another
      database than before. The proxy uses it only after a restart, since it does not know what was sent.

      To do: see whether PostgreSQL runs, and whether this machine can reach it.`,
  },
  databaseBack: {
    id: '7f0a94d25b9c4d5ea0f4c1d6e8b73a52',
    priority: priorities.info,
    /** `isSame`: no other proxy has taken this one for dead meanwhile. */
    entry: (ledger: string, afterMs: number, isSame: boolean) => ({
      text:
        `the database of the ledger ${ledger} is back after ${showDuration(afterMs)}` +
        (isSame ? '' : '; meanwhile the other proxies have listed as unknown what was being sent'),
    }),
    subject: 'The proxy has the database of its ledger again',
    manual: PROXY,
    help: 'Posts are taken again, and what was sent meanwhile is written down. Nothing has to be done.',
  },
  databaseUnsafe: {
    id: 'c2d8a1f0b7e64c3fa9185d20e6b3974d',
    priority: priorities.warning,
    /** `risk`: the settings of the server that are off. */
    entry: (ledger: string, risk: string) => ({
      text:
        `attention: ${risk} of the database server of the ledger ${ledger} is off: a crash of that machine can forget or ` +
        'damage what was sent, which is then sent again. To do: set it to on in postgresql.conf',
    }),
    subject: 'The database server of the ledger may forget what was sent',
    manual: PROXY,
    help: `
      fsync and full_page_writes of PostgreSQL ensure that a crash or a power cut loses nothing that was
      committed. The line says which of them is off. Mail goes on. Set it to on in postgresql.conf of the
      server, and have the server read it again: SELECT pg_reload_conf().`,
  },
  databaseSetBack: {
    id: '5e0b7c94a1d3482f96c8e47d1f2a605b',
    priority: priorities.error,
    /** Commits that this proxy has seen are not there any more. */
    entry: (ledger: string, lostMs: number) => ({
      text:
        `attention: the database of the ledger ${ledger} has lost at least the last ${showDuration(Math.max(1000, lostMs))}: ` +
        'what was sent then is forgotten, and is sent again if it is posted again. To do: see synchronous_standby_names',
    }),
    subject: 'The database of the ledger has lost what was committed last',
    manual: PROXY,
    help: `
      A standby was promoted that had not received the last commits, an old backup was restored, or a former
      primary is in use again beside the new one. Mail goes on. A host that got the proxy's answer does not
      post such mail again. One that did not posts it, and it is sent again, which nobody can list.

      To prevent that, name the standby in synchronous_standby_names of the primary, so that a commit waits
      for it, and see that a former primary cannot come back as one.`,
  },
  ledgerRepaired: {
    id: '435aacf979b5aeea4c7c643209be9547',
    priority: priorities.error,
    /** A sentence about what a repair of the ledger found, lost or did. */
    entry: (text: string) => ({ text }),
    subject: 'A damaged ledger was repaired, and the result was not shown yet',
    manual: PROXY,
    help: `
      appengine-mailer-proxy ledger fsck repaired the ledger and was killed before it could print what it
      found and lost. The lines of this event say it now. The damaged file stays beside the ledger.`,
  },
  ledgerLogCut: {
    id: '65d73bc8cbaa4212f058fa0060955292',
    priority: priorities.error,
    /** SQLite ignores the damaged end of a log: only the first program that opens the file can see it. */
    entry: (file: string) => ({
      text:
        `attention: the write-ahead log of the ledger ${file} has lost its end: what was sent last may be forgotten, ` +
        'and is sent again if it is posted again. To do: look for a failing disk (dmesg)',
    }),
    subject: 'The write-ahead log of the ledger is damaged at its end',
    manual: PROXY,
    help: `
      ledger.db-wal contains what was committed last. A part of it is broken or missing, and SQLite
      ignores everything behind that part: the ledger may have forgotten what was sent last. A host that
      got the proxy's answer does not post such mail again. One that did not posts it, and it is sent again.

      A disk that loses what was written to it is failing: see dmesg and smartctl.`,
  },
  ledgerLogGrown: {
    id: 'eb7e42eff8001bf07f56cbcd28754341',
    priority: priorities.error,
    /** The write-ahead log grows with every commit, because a reader keeps it from being used anew. */
    entry: (file: string, bytes: number, holders: readonly string[]) => ({
      text: `attention: ${logGrownText(`the ledger ${file}`, bytes, holders)}. To do: ${logGrownRemedy}`,
    }),
    subject: 'The write-ahead log of the ledger grows without end',
    manual: PROXY,
    help: logGrownHelp('ledger.db'),
  },
  ledgerLogShrunk: {
    id: '3607b91b5edba45318944ebb1901b3f1',
    priority: priorities.notice,
    entry: (file: string) => ({
      text: `the write-ahead log of the ledger ${file} is small again`,
    }),
    subject: 'The write-ahead log of the ledger is small again',
    manual: PROXY,
    help: `
      The program that kept the log from being used anew has ended. Nothing has to be done.`,
  },
} satisfies JournalEvents;

/** The id, whose it is where the key says that, and where it came from. */
function nameOf({ key, id, client }: PostedMessage): string {
  return `${id}${key === '' ? '' : ` of ${key}`}${client === undefined ? '' : ` (${client})`}`;
}

function nameFields({ key, id, client }: PostedMessage) {
  return { MAIL_ID: id, MAIL_KEY: key === '' ? undefined : key, MAIL_CLIENT: client };
}
