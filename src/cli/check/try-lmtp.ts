import { connectSocket } from '../../host/net/connect-socket.ts';
import { withinTime } from '../../host/within-time.ts';
import { limits } from '../../limits.ts';

/**
 * Tries an LMTP server (RFC 2033) on a Unix socket up to a recipient, and breaks the transaction off: nothing is stored.
 * Returns the reply that refuses, undefined when there is none. Rejects when there is no answer.
 */
export async function tryLmtp(path: string): Promise<string | undefined> {
  return withinTime(limits.intakeAnswerMs, 'no answer', {}, async ({ signal: inTime }) => {
    const socket = await connectSocket({ path }, inTime);
    const end = () => socket.destroy(inTime.reason as Error);
    inTime.addEventListener('abort', end, { once: true });
    const commands = DIALOGUE.values();
    try {
      let reply = '';
      for await (const chunk of socket) {
        reply += String(chunk);
        const [, last] = /^(?:\d{3}-.*\r\n)*(\d{3} .*)\r\n$/.exec(reply) ?? [];
        if (last === undefined) continue;
        if (!last.startsWith('2')) return last;
        const { value, done } = commands.next();
        if (done) return undefined;
        socket.write(`${value}\r\n`);
        reply = '';
      }
      throw new Error('it has closed the connection');
    } finally {
      inTime.removeEventListener('abort', end);
      socket.destroy();
    }
  });
}

const DIALOGUE = [
  'LHLO localhost',
  'MAIL FROM:<>',
  'RCPT TO:<check@appengine-mailer.invalid>',
  'RSET',
  'QUIT',
];
