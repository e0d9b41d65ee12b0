import type { SimSocket } from './network.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A step of an SMTP session that has to be answered. */
export type Step = 'greeting' | 'EHLO' | 'MAIL' | 'RCPT' | 'DATA' | 'dot' | 'other';

/** What a server does at a step: answers after a while, says nothing ever, or closes after a while. */
export interface Answer {
  afterMs: number;
  /** A reply of SMTP, or `nothing` or `close`. */
  reply: string;
}

export interface SmtpServerOptions {
  time: VirtualTime;
  /** Decides about each step; `recipients` are those that were taken. */
  answer: (step: Step, about: { recipient?: string; recipients: readonly string[] }) => Answer;
  /** A message was taken: from now on it is delivered, whether its client hears of it or not. */
  took: (recipients: readonly string[], bytes: Buffer) => void;
}

/** An SMTP server of the world, as far as our clients ask of one (RFC 5321). */
export function serveSmtp(socket: SimSocket, { time, answer, took }: SmtpServerOptions): void {
  let input = '';
  let inData = false;
  let recipients: string[] = [];
  /** Steps are answered one after the other, however fast they come. */
  let freeAt = time.now;
  const say = (step: Step, about: { recipient?: string } = {}, then = (_isYes: boolean) => {}) => {
    const { afterMs, reply } = answer(step, { ...about, recipients });
    freeAt = Math.max(freeAt, time.now) + afterMs;
    if (reply === 'nothing') {
      freeAt = Infinity;
      return;
    }
    if (freeAt === Infinity) return;
    time.at(freeAt, () => {
      if (socket.destroyed) return;
      if (reply === 'close') {
        socket.destroy();
        return;
      }
      then(/^[23]/.test(reply));
      socket.write(`${reply}\r\n`);
      if (reply.startsWith('421')) socket.end();
    });
  };
  const line = (text: string) => {
    const verb = text.slice(0, 4).toUpperCase();
    const address = /<(.*)>/.exec(text)?.[1] ?? '';
    if (verb === 'EHLO' || verb === 'HELO') return say('EHLO');
    if (verb === 'MAIL') {
      recipients = [];
      return say('MAIL');
    }
    if (verb === 'RCPT')
      return say(
        'RCPT',
        { recipient: address },
        (isYes) => void (isYes && recipients.push(address)),
      );
    if (verb === 'DATA') {
      return say('DATA', {}, (isYes) => {
        inData = isYes;
      });
    }
    if (verb === 'QUIT') return void socket.end('221 2.0.0 bye\r\n');
    if (verb === 'RSET') recipients = [];
    say('other');
  };
  socket.on('data', (chunk: Buffer) => {
    input += chunk.toString('latin1');
    for (;;) {
      if (inData) {
        const end = input.startsWith('.\r\n') ? 0 : input.indexOf('\r\n.\r\n');
        if (end < 0) return;
        const bytes = Buffer.from(input.slice(0, end), 'latin1');
        input = input.slice(end === 0 ? 3 : end + 5);
        inData = false;
        const taken = [...recipients];
        say('dot', {}, (isYes) => {
          if (isYes) took(taken, bytes);
        });
      } else {
        const end = input.indexOf('\r\n');
        if (end < 0) return;
        const text = input.slice(0, end);
        input = input.slice(end + 2);
        line(text);
      }
    }
  });
  socket.on('end', () => socket.end());
  say('greeting');
}
