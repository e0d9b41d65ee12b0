import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { SmtpRelay } from '../../src/proxy/backends/smtp/smtp-sessions.ts';

/**
 * What the server answers: a reply, whose lines are parted by LF, or `cut` (closes the connection), or
 * `lost` (takes the message, then closes), or `hang` (says nothing). A function is asked with the line, or
 * with the message. After a 421 it closes.
 */
export type SmtpAnswer = string | ((line: string) => string);

/** Answers by command, and to a connection (`greeting`) and the end of a message (`message`). */
export type SmtpScript = Partial<Record<string, SmtpAnswer>>;

/** A message as it came over the wire: dots unstuffed, in CRLF, without the closing dot. */
export interface SmtpMessage {
  /** The lines of MAIL and RCPT. */
  envelope: string[];
  bytes: Buffer;
}

/** An SMTP server on loopback that does what its script says, which may change at any time. */
export class ScriptedSmtp {
  script: SmtpScript;
  /** Every line that came, message lines apart. */
  readonly lines: string[] = [];
  readonly messages: SmtpMessage[] = [];
  readonly sockets: Socket[] = [];
  readonly port: number;

  private constructor(script: SmtpScript, port: number) {
    this.script = script;
    this.port = port;
  }

  static async start(
    t: TestContext,
    script: SmtpScript = {},
    address = '127.0.0.1',
  ): Promise<ScriptedSmtp> {
    const server = createServer((socket) => scripted.#serve(socket));
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    const scripted = new ScriptedSmtp(script, (server.address() as AddressInfo).port);
    t.after(() => {
      for (const socket of scripted.sockets) socket.destroy();
      server.close();
    });
    return scripted;
  }

  /** The relay that a backend is to use; plain unless told otherwise. */
  relay(but: Partial<SmtpRelay> = {}): SmtpRelay {
    const relay = { host: '127.0.0.1', port: this.port, security: 'none' as const };
    const others = { ca: undefined, name: undefined, auth: undefined, connectionsMax: 20 };
    return { ...relay, ...others, ...but };
  }

  /** The lines that begin with this. */
  said(command: string): string[] {
    return this.lines.filter((line) => line.startsWith(command));
  }

  #serve(socket: Socket): void {
    this.sockets.push(socket);
    socket.setNoDelay(true); // Replies are written one by one.
    socket.on('error', () => {}); // Cutting is what it is for.
    let [pending, inData, envelope] = ['', false, [] as string[]];
    const answer = (command: string, line: string): string => {
      const nobody = command === 'DATA' && envelope.length < 2;
      const normal = nobody ? '554 5.5.1 no valid recipients' : DEFAULTS[command];
      const given = this.script[command] ?? normal ?? '502 5.5.1 not known';
      const reply = typeof given === 'function' ? given(line) : given;
      if (reply === 'cut' || reply === 'lost') socket.destroy();
      else if (reply !== 'hang') socket.write(`${reply.replaceAll('\n', '\r\n')}\r\n`, 'latin1');
      if (reply.startsWith('421') || command === 'QUIT') socket.end();
      return reply;
    };
    answer('greeting', '');
    socket.on('data', (chunk: Buffer) => {
      pending += chunk.toString('latin1');
      while (!socket.destroyed) {
        if (inData) {
          const end = pending.startsWith('.\r\n') ? 0 : pending.indexOf('\r\n.\r\n') + 2;
          if (end === 1) return;
          const bytes = Buffer.from(pending.slice(0, end).replace(/(^|\r\n)\./g, '$1'), 'latin1');
          pending = pending.slice(end + 3);
          inData = false;
          const taken = { envelope, bytes };
          const reply = answer('message', bytes.toString('latin1'));
          if (reply.startsWith('2') || reply === 'lost') this.messages.push(taken);
          envelope = [];
          continue;
        }
        const [line] = pending.split('\r\n', 1);
        if (line === undefined || line.length === pending.length) return;
        pending = pending.slice(line.length + 2);
        this.lines.push(line);
        const command = line.split(/[ :]/, 1)[0]?.toUpperCase() ?? '';
        if (command === 'MAIL' || command === 'RSET') envelope = [];
        const reply = answer(command, line);
        if (/^(?:MAIL|RCPT)/.test(command) && reply.startsWith('2')) envelope.push(line);
        inData = command === 'DATA' && reply.startsWith('3');
      }
    });
  }
}

const DEFAULTS: SmtpScript = {
  greeting: '220 relay.example ESMTP',
  EHLO: '250-relay.example\n250-PIPELINING\n250-SIZE 1000000000\n250-8BITMIME\n250 SMTPUTF8',
  MAIL: '250 2.1.0 Ok',
  RCPT: '250 2.1.5 Ok',
  DATA: '354 go on',
  message: '250 2.0.0 Ok: queued as 4711',
  RSET: '250 2.0.0 Ok',
  QUIT: '221 2.0.0 Bye',
};
