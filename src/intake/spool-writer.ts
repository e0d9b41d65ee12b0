import type { Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import { enqueue, SpoolFullError, type Stored } from '../spool/enqueue.ts';
import { repeatId } from '../spool/repeat-id.ts';
import { Spool } from '../spool/spool.ts';
import { GroupCommit, type Transactional } from '../sqlite/group-commit.ts';
import { failureReason } from './failure-text.ts';
import type { IntakeJournal } from './intake-journal.ts';
import type { Received } from './lmtp-session.ts';

/**
 * Stores what many connections hand over, in transactions that they share, and wakes drain. The spool is opened when it is
 * wanted, and closed after any trouble and limits.intakeSpoolMs later: so what is put right is used at once, and a repair,
 * which has to be alone with the file, does not wait for this program to end.
 */
export class SpoolWriter {
  readonly folder: string;
  readonly #clock: Clock;
  readonly #journal: IntakeJournal;
  readonly #commits: GroupCommit;
  #spool: Spool | undefined;
  #stopTimer: (() => void) | undefined;
  /** What was told last of the spool, and when it may be told again; monotonic. */
  #trouble: { text: string; againAt: number } | undefined;

  constructor(folder: string, journal: IntakeJournal, clock: Clock) {
    this.folder = folder;
    this.#journal = journal;
    this.#clock = clock;
    this.#commits = new GroupCommit(() => this.#database(), { clock, waitMs: limits.busyMs });
  }

  /** Why nothing could be stored the last time, as a sentence; undefined where all is well. */
  get trouble(): string | undefined {
    return this.#trouble?.text;
  }

  /**
   * Stores a message; it is on disk when this resolves. Rejects with MessageTooLargeError, or with what is wrong with the
   * spool: then the message may be stored all the same where the fault was in the commit itself.
   */
  async store({ ident, envelope, message }: Received): Promise<Stored> {
    const { eximId: lastLine, pieces, digest } = message.end();
    const given = ident ?? lastLine;
    try {
      const stored = await this.#commits.commit(() => {
        const spool = this.#open();
        const now = spool.now();
        const eximId = given ?? repeatId(spool, { envelope, digest }, now);
        return enqueue(spool, { eximId, envelope, pieces, digest }, now);
      });
      this.#wellAgain();
      return stored;
    } catch (error) {
      this.#tell(error);
      throw error;
    }
  }

  close(): void {
    this.#stopTimer?.();
    this.#spool?.close();
    this.#spool = undefined;
  }

  #database(): Transactional {
    const spool = this.#open();
    return {
      db: spool.db,
      transaction: (action) => {
        const result = spool.transaction(action);
        spool.wakeDrain();
        return result;
      },
    };
  }

  #open(): Spool {
    if (this.#spool) return this.#spool;
    const close = () => this.close();
    this.#spool = new Spool(this.folder, 'intake', this.#clock);
    this.#stopTimer = this.#clock.timer(limits.intakeSpoolMs, close, { idle: true });
    return this.#spool;
  }

  #wellAgain(): void {
    if (this.#trouble) this.#journal.spoolTakesMail(this.folder);
    this.#trouble = undefined;
  }

  #tell(error: unknown): void {
    if (!(error instanceof SpoolFullError)) this.close();
    const text = failureReason(error);
    const now = this.#clock.now();
    if (text === this.#trouble?.text && now < this.#trouble.againAt) return;
    this.#trouble = { text, againAt: now + limits.faultRepeatMs };
    this.#journal.spoolTakesNoMail(this.folder, text);
  }
}
