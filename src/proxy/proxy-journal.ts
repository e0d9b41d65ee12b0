import { countOf } from '../host/count-of.ts';
import { priority } from '../host/journal-sink.ts';
import { Journal } from '../host/journal.ts';
import { logGrownRemedy, logGrownText } from '../host/watch-log.ts';
import { recipientsText } from '../host/recipients-text.ts';
import { addressList, addressText } from '../mail/address-list.ts';
import { cut } from '../mail/cut.ts';
import { statusClass } from '../mail/enhanced-status.ts';
import { limits } from '../mail/limits.ts';
import type { Verdict } from '../wire/verdicts.ts';

/** What the proxy writes into the journal. */
export class ProxyJournal extends Journal {
  proxyStarted(
    address: string,
    backend: string,
    ledger: { file: string; isEmpty: boolean },
    keys: number,
    softBounce: boolean,
  ): void {
    // An empty one may be a wrong path: what was sent before would be sent again.
    const remembers = `${ledger.file}${ledger.isEmpty ? ' (empty)' : ''}`;
    this.write('proxy_started', {
      text:
        `proxy listens on ${address}, backend ${backend}, ledger ${remembers}, ${countOf(keys, 'key')}` +
        (softBounce ? '; --soft-bounce is on: nothing is refused for good' : ''),
      priority: priority.info,
    });
  }

  proxyStopped(address: string): void {
    this.write('proxy_stopped', {
      text: `proxy on ${address} stopped`,
      priority: priority.info,
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

  /** A sender that is not allowed was replaced, as it was asked for, in the envelope and in From. */
  senderFixed(id: string, sender: string, stranger: string, defaultSender: string): void {
    this.write('proxy_sender_fixed', {
      text:
        `${id} from ${addressText(sender)}: '${cut(stranger, limits.addressBytes)}' is not an allowed sender; ` +
        `sent as ${addressText(defaultSender)}`,
      priority: priority.notice,
      fields: { MAIL_ID: id },
    });
  }

  /** Header fields that the backend has no place for. */
  headersDropped(id: string, names: readonly string[]): void {
    const named = names.slice(0, limits.namedHeaders).join(', ');
    const more = names.length - limits.namedHeaders;
    this.write('proxy_headers_dropped', {
      text: `${id}: sent without ${named}${more > 0 ? ` and ${more} more` : ''}, which the Mail API does not take`,
      priority: priority.info,
      fields: { MAIL_ID: id },
    });
  }

  /** A message that a backend cannot read, though it may be in order: it waits. */
  unreadable(id: string, reason: string): void {
    this.write('proxy_unreadable', {
      text: `${id}: it waits, since the message cannot be taken apart: ${reason}`,
      priority: priority.warning,
      fields: { MAIL_ID: id },
    });
  }

  /** The proxy's answer to a post. */
  verdicts(id: string, sender: string, verdicts: readonly Verdict[]): void {
    const recipients = verdicts.map(({ recipient, status, reason, inProgress }) => ({
      address: recipient,
      state: inProgress ? 'in progress' : (statusClass(status) ?? 'deferred'),
      status,
      reason,
    }));
    this.write('proxy_verdicts', {
      text: `${id} from ${addressText(sender)}: ${recipientsText(recipients)}`,
      priority: priority.info,
      fields: {
        MAIL_ID: id,
        MAIL_RECIPIENT: recipients.map(({ address }) => address),
        MAIL_STATUS: [...new Set(recipients.map(({ status }) => status))],
      },
    });
  }

  /** The backend may have sent it or not; the ledger lists it, and the next post sends it again. */
  outcomeUnknown(id: string, recipients: readonly string[], reason: string): void {
    this.write('proxy_unknown', {
      text:
        `${id} to ${addressList(recipients)}: it cannot be known whether this was sent: ` +
        `${reason}; the next post sends it again`,
      priority: priority.warning,
      fields: { MAIL_ID: id, MAIL_RECIPIENT: recipients },
    });
  }

  /** A request that was not taken. */
  requestRefused(from: string, id: string | undefined, status: number, reason: string): void {
    this.write('proxy_refused', {
      text: `request from ${from} refused with ${status}: ${reason}`,
      priority: priority.warning,
      fields: { MAIL_ID: id, MAIL_STATUS: status },
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
