import type { Socket } from 'node:net';
import type { Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import { encodeAddress } from '../mail/address.ts';
import { SpoolFullError, type Stored } from '../spool/enqueue.ts';
import { failureText } from './failure-text.ts';
import { LmtpSession, type Received } from './lmtp-session.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { MessageTooLargeError } from './message-bytes.ts';

/** What the connections of a server share. */
export interface Shared {
  clock: Clock;
  /** Largest message that is taken. */
  bytesMax: number;
  memory: MemoryBudget<LmtpConnection>;
  /** Commits a message. */
  store: (message: Received) => Promise<Stored>;
}

/** One connection of a client: a session on a socket, with its time limits. */
export class LmtpConnection {
  readonly #socket: Socket;
  readonly #shared: Shared;
  readonly #session: LmtpSession;
  /** When something came last, and when the command or message of the client has taken too long; monotonic. */
  #heardAt = Infinity;
  #lateAt = Infinity;
  /** Since when it waits for memory; monotonic. */
  #waitsSince: number | undefined;
  #phase: Phase = 'between';
  /** The client waits for us. */
  #isOurTurn = false;
  /** A message was taken or refused. */
  #hasServed = false;
  #isStopping = false;

  constructor(socket: Socket, shared: Shared) {
    this.#socket = socket;
    this.#shared = shared;
    this.#session = new LmtpSession(shared.bytesMax);
    // Reads and writes fail with it. Without this, a client that is gone before it is greeted ends the program.
    socket.on('error', () => {});
  }

  /** Serves until the client has gone, or is told to. Never rejects. */
  async serve(): Promise<void> {
    try {
      await this.#write(LmtpSession.greeting);
      this.#heardAt = this.#shared.clock.now();
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        if (await this.#take(chunk)) break;
      } // All replies are written by now; leaving the loop closes the socket.
    } catch {
      // The client has gone, or was cut off. Half a message is forgotten.
    } finally {
      this.#shared.memory.hold(this, 0);
      this.#socket.destroy();
    }
  }

  /**
   * Ends after the message that is under way, or, where none was served yet, after the first: its client has just come, and
   * would only come again. Such a one is cut off in the end.
   */
  stop(): void {
    this.#isStopping = true;
    if (this.#hasServed && !this.#session.isInTransaction) this.cut(STOPPING);
  }

  /** Tells the client why, and ends at once. */
  cut(reply: string): void {
    this.#socket.write(`${reply}\r\n`);
    this.#socket.destroy();
    this.#shared.memory.hold(this, 0);
  }

  /** Ends when the client takes too long, or waits for memory so long that it may have gone. */
  look(now: number): void {
    if (this.#waitsSince !== undefined && now >= this.#waitsSince + limits.intakeTurnMs)
      this.cut('421 4.3.1 too many large messages come at once, try again later');
    if (this.#isOurTurn) return;
    const holdsUpOthers = this.#shared.memory.holdsUpOthers(this);
    const silentMs = holdsUpOthers ? limits.intakeStallMs : limits.intakeIdleMs;
    if (now >= this.#heardAt + silentMs) this.cut('421 4.4.2 nothing has come for too long');
    else if (now >= this.#lateAt) this.cut('421 4.4.2 this takes too long');
  }

  /** Gives the client more time: so much has passed in which it could do nothing. */
  extend(ms: number): void {
    this.#heardAt += ms;
    this.#lateAt += ms;
  }

  /** Takes what arrives. Whether the connection ends. */
  async #take(chunk: Buffer): Promise<boolean> {
    const { clock, memory } = this.#shared;
    this.#heardAt = clock.now();
    const isOver = await this.#feed(chunk);
    const phase = phaseOf(this.#session);
    if (phase !== this.#phase) this.#lateAt = clock.now() + PHASE_MS[phase];
    this.#phase = phase;
    memory.hold(this, this.#session.held);
    if (!memory.goesOn(this)) await this.#memoryTurn();
    if (isOver || !this.#isStopping || !this.#hasServed || this.#session.isInTransaction)
      return isOver;
    await this.#write(`${STOPPING}\r\n`);
    return true;
  }

  async #feed(chunk: Buffer): Promise<boolean> {
    for (let rest = chunk; ;) {
      const { replies, received, isOver, rest: left } = this.#session.push(rest);
      await this.#write(replies);
      if (received) await this.#write(await this.#ourTurn(this.#answer(received)));
      if (isOver || left.length === 0) return isOver;
      rest = left;
    }
  }

  /** Reads nothing meanwhile, and so does not notice whether the client has gone. */
  async #memoryTurn(): Promise<void> {
    this.#waitsSince = this.#shared.clock.now();
    await this.#ourTurn(this.#shared.memory.turn(this));
    this.#waitsSince = undefined;
  }

  /** Work of ours, whose time does not count for the client. */
  async #ourTurn<Result>(work: Promise<Result>): Promise<Result> {
    const { clock } = this.#shared;
    const began = clock.now();
    this.#isOurTurn = true;
    try {
      return await work;
    } finally {
      this.#isOurTurn = false;
      this.extend(clock.now() - began);
    }
  }

  async #answer(received: Received): Promise<string> {
    const replyTo = await this.#shared.store(received).then(
      (stored) => (recipient: string) => takenReply(stored, recipient),
      (error: unknown) => () => refusal(error),
    );
    this.#hasServed = true;
    this.#phase = 'between';
    return this.#session.answer(replyTo);
  }

  /** Waits until the client takes it, so that a client that reads nothing is sent nothing more. */
  async #write(text: string): Promise<void> {
    if (text === '') return;
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(text, (error) => (error ? reject(error) : resolve()));
    });
  }
}

/** What a client is told when the server ends. */
export const STOPPING = '421 4.3.2 the server is being restarted, try again later';

type Phase = 'between' | 'command' | 'message';

function phaseOf(session: LmtpSession): Phase {
  if (session.isInMessage) return 'message';
  return session.isInCommand ? 'command' : 'between';
}

const PHASE_MS: Record<Phase, number> = {
  between: Infinity,
  command: limits.intakeCommandMs,
  message: limits.intakeMessageMs,
};

function takenReply({ id, known }: Stored, recipient: string): string {
  const knownId = known.get(encodeAddress(recipient).toString('latin1'));
  return `250 2.0.0 ${knownId === undefined ? `queued ${id}` : `already queued ${knownId}`}`;
}

/** Always temporary. */
function refusal(error: unknown): string {
  // A reply is ASCII (RFC 5321, section 4.2).
  const text = failureText(error).replace(/[^ -~]/g, '?');
  if (error instanceof MessageTooLargeError) return `452 4.3.4 ${text}`;
  return `${error instanceof SpoolFullError ? '452 4.3.1' : '451 4.3.0'} ${text}`;
}
