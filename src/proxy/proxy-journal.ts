import { countOf } from '../host/count-of.ts';
import { priority } from '../host/systemd/journal-sink.ts';
import { Journal } from '../host/journal.ts';
import type { KeyFault } from '../host/key-faults.ts';
import { logGrownRemedy, logGrownText } from '../sqlite/watch-log.ts';
import { recipientsText } from '../host/recipients-text.ts';
import { addressList, addressText } from '../mail/address-list.ts';
import { cut } from '../mail/cut.ts';
import { statusClass } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import type { Verdict } from '../wire/verdicts.ts';
import { ledgerCommand } from './ledger/ledger-command.ts';
import type { PostedMessage } from './ledger/message-name.ts';

/** What the proxy writes into the journal. */
export class ProxyJournal extends Journal {
  /** `about`: the backend, with the relay, and who may send. */
  proxyStarted(
    address: string,
    about: string,
    ledger: { file: string; isEmpty: boolean },
    keys: number,
    softBounce: boolean,
  ): void {
    // An empty one may be a wrong path: what was sent before would be sent again.
    const remembers = `${ledger.file}${ledger.isEmpty ? ' (empty)' : ''}`;
    this.write('proxy_started', {
      text:
        `proxy listens on ${address}, ${about}, ledger ${remembers}, ${countOf(keys, 'key')}` +
        (softBounce ? '; --soft-bounce is on: nothing is refused for good' : ''),
      priority: priority.info,
    });
  }

  /** The machine has no name that it could be called by at the relay. */
  nameless(text: string, remedy: string): void {
    this.write('proxy_nameless', {
      text: `${text}. To do: ${remedy}`,
      priority: priority.warning,
    });
  }

  proxyStopped(address: string): void {
    this.write('proxy_stopped', {
      text: `proxy on ${address} stopped`,
      priority: priority.info,
    });
  }

  /** Systemd's socket unit holds addresses that are not the one that was asked for. */
  listensElsewhere(addresses: readonly string[]): void {
    this.write('proxy_listens_elsewhere', {
      text:
        `attention: systemd holds ${addresses.join(', ')} for the proxy, which therefore listens there besides the ` +
        'address that --listen names. To do: systemctl daemon-reload, then systemctl restart appengine-mailer-proxy.socket',
      priority: priority.warning,
    });
  }

  /** The keys were read again, and these are valid from now on. */
  keysInForce(keys: number): void {
    this.write('proxy_keys', {
      text: `the keys were read again: ${countOf(keys, 'key')} in force`,
      priority: priority.notice,
    });
  }

  /** New keys cannot be had: those that are in force stay so. */
  keysTrouble(text: string): void {
    this.write('proxy_keys_trouble', {
      text: `attention: the keys that are in force stay so: ${text}`,
      priority: priority.error,
    });
  }

  /** A key that works can be guessed, or be read by everybody; told at each start. */
  keysUnsafe({ text, todo }: KeyFault): void {
    this.write('proxy_key_unsafe', {
      text: `attention: ${text}. To do: ${todo}`,
      priority: priority.warning,
    });
  }

  /** A sender that is not allowed was replaced, as it was asked for, in the envelope and in From. */
  senderFixed(
    message: PostedMessage,
    sender: string,
    stranger: string,
    defaultSender: string,
  ): void {
    this.write('proxy_sender_fixed', {
      text:
        `${nameOf(message)} from ${addressText(sender)}: '${cut(stranger, limits.addressBytes)}' is not an allowed sender; ` +
        `sent as ${addressText(defaultSender)}`,
      priority: priority.notice,
      fields: nameFields(message),
    });
  }

  /** Header fields that the backend has no place for. */
  headersDropped(message: PostedMessage, names: readonly string[]): void {
    const named = names.slice(0, limits.namedHeaders).join(', ');
    const more = names.length - limits.namedHeaders;
    this.write('proxy_headers_dropped', {
      text: `${nameOf(message)}: sent without ${named}${more > 0 ? ` and ${more} more` : ''}, which the Mail API does not take`,
      priority: priority.info,
      fields: nameFields(message),
    });
  }

  /** A message that a backend cannot read, though it may be in order: it waits. */
  unreadable(message: PostedMessage, reason: string): void {
    this.write('proxy_unreadable', {
      text: `${nameOf(message)}: it waits, since the message cannot be taken apart: ${reason}`,
      priority: priority.warning,
      fields: nameFields(message),
    });
  }

  /** The proxy's answer to a post. */
  verdicts(message: PostedMessage, sender: string, verdicts: readonly Verdict[]): void {
    const recipients = verdicts.map(({ recipient, status, reason, inProgress, sentBefore }) => ({
      address: recipient,
      state: inProgress ? 'in progress' : (statusClass(status) ?? 'deferred'),
      status,
      reason,
      sentBefore,
    }));
    this.write('proxy_verdicts', {
      text: `${nameOf(message)} from ${addressText(sender)}: ${recipientsText(recipients)}`,
      priority: priority.info,
      fields: {
        ...nameFields(message),
        MAIL_RECIPIENT: recipients.map(({ address }) => address),
        MAIL_STATUS: [...new Set(recipients.map(({ status }) => status))],
      },
    });
  }

  /** The backend may have sent it or not; the ledger lists it, and the next post sends it again. */
  outcomeUnknown(message: PostedMessage, recipients: readonly string[], reason: string): void {
    this.write('proxy_unknown', {
      text:
        `${nameOf(message)} to ${addressList(recipients)}: it cannot be known whether this was sent: ` +
        `${reason}; the next post sends it again`,
      priority: priority.warning,
      fields: { ...nameFields(message), MAIL_RECIPIENT: recipients },
    });
  }

  /**
   * At the start: so many recipients are listed as unknown; `found` of them are new, since a proxy died while the backend had
   * them.
   */
  unknownListed(file: string, { listed, found }: { listed: number; found: number }): void {
    const fresh =
      found === 0 ? '' : `, ${found} of them since the proxy ended before the backend answered`;
    this.write('proxy_unknown_listed', {
      text:
        `${countOf(listed, 'recipient')}${listed < limits.unknownCounted ? '' : ' or more'} may have been sent to or not${fresh}. What is posted again is sent again. ` +
        `To list them: ${ledgerCommand('list', file)}`,
      priority: found === 0 ? priority.info : priority.warning,
    });
  }

  /** A request that was not taken; `key`: the name of the key that it was signed with, if it has one. */
  requestRefused(
    from: string,
    id: string | undefined,
    status: number,
    reason: string,
    key = '',
  ): void {
    const by = key === '' ? '' : ` with key ${key}`;
    this.write('proxy_refused', {
      text: `request from ${from}${by} refused with ${status}: ${reason}`,
      priority: priority.warning,
      fields: {
        MAIL_ID: id,
        MAIL_STATUS: status,
        MAIL_KEY: key === '' ? undefined : key,
        MAIL_CLIENT: from,
      },
    });
  }

  /** Requests without a key of the proxy's that no line of their own was written about. */
  strangersLeftOut(count: number): void {
    this.write('proxy_strangers', {
      text: `${countOf(count, 'more request')} without a key of this proxy refused within ${limits.unauthenticatedLinesMs / 1000} s`,
      priority: priority.warning,
    });
  }

  /** Posts were told to come later, since nothing could be begun with them in time. */
  backendBusy(text: string): void {
    this.write('proxy_busy', {
      text: `${text}: hosts are told to post less for now, and their mail waits in their queues`,
      priority: priority.info,
    });
  }

  /** Mail goes on, and the ledger grows. */
  notPruned(text: string): void {
    this.write('proxy_not_pruned', {
      text: `attention: what is older than 30 days cannot be removed from the ledger: ${text}`,
      priority: priority.error,
    });
  }

  /** Others find another ledger by its name, or none: the proxy ends, and is started again on what is there. */
  ledgerReplaced(text: string): void {
    this.write('proxy_ledger_replaced', {
      text:
        `attention: ${text}: the proxy ends, so that it starts anew on what is there; a ledger that ` +
        'is older has forgotten what was sent since then, and it would be sent again if posted again',
      priority: priority.error,
    });
  }

  /** What a repair of the ledger found, lost or came to: a sentence each. */
  ledgerRepaired(text: string): void {
    this.write('proxy_ledger_repaired', { text, priority: priority.error });
  }

  /** SQLite passes over the damaged end of a log: only who opens the file first can see it. */
  ledgerLogCut(file: string): void {
    this.write('proxy_ledger_log_cut', {
      text:
        `attention: the write-ahead log of the ledger ${file} has lost its end: what was sent last may be forgotten, ` +
        'and is sent again if it is posted again. To do: look for a failing disk (dmesg)',
      priority: priority.error,
    });
  }

  /** The write-ahead log grows with every commit, since somebody keeps it from being used anew. */
  ledgerLogGrown(file: string, bytes: number, holders: readonly string[]): void {
    this.write('proxy_ledger_log_grown', {
      text: `attention: ${logGrownText(`the ledger ${file}`, bytes, holders)}. To do: ${logGrownRemedy}`,
      priority: priority.error,
    });
  }

  /** It is used anew again. */
  ledgerLogShrunk(file: string): void {
    this.write('proxy_ledger_log_shrunk', {
      text: `the write-ahead log of the ledger ${file} is small again`,
      priority: priority.notice,
    });
  }

  /** The ledger or the backend fails: nothing is taken until it works again. */
  proxyTrouble(text: string): void {
    this.write('proxy_trouble', {
      text: `attention: no mail is taken: ${text}`,
      priority: priority.error,
    });
  }
}

/** The id, whose it is where the key says that, and where it came from. */
function nameOf({ key, id, client }: PostedMessage): string {
  return `${id}${key === '' ? '' : ` of ${key}`}${client === undefined ? '' : ` (${client})`}`;
}

function nameFields({ key, id, client }: PostedMessage) {
  return { MAIL_ID: id, MAIL_KEY: key === '' ? undefined : key, MAIL_CLIENT: client };
}
