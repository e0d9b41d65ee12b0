import { randomBytes } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { PostgresServer } from './postgres.ts';

/** A connection to the server, and who has it. */
interface Backend {
  socket: Socket;
  client: Socket | undefined;
}

/**
 * A pooler like PgBouncer, which speaks just enough of the protocol (PostgreSQL's manual, 55): in transaction mode a client
 * has a connection to the server until its transaction ends. Returns its port on 127.0.0.1.
 */
export async function startPooler(
  t: TestContext,
  server: PostgresServer,
  mode: 'transaction' | 'session',
): Promise<number> {
  const sockets = new Set<Socket>();
  const idle: Backend[] = [];
  const open = async (startup: Buffer): Promise<Backend> => {
    const backend: Backend = {
      socket: connect(`${server.folder}/.s.PGSQL.5432`),
      client: undefined,
    };
    sockets.add(backend.socket);
    backend.socket.on('error', () => {}).write(startup);
    let ready: (() => void) | undefined;
    const isReady = new Promise<void>((resolve) => {
      ready = resolve;
    });
    eachMessage(backend.socket, (message) => {
      if (backend.client) backend.client.write(message);
      else if (message[0] === READY) ready?.();
      // Its transaction is over: "I" for idle.
      const isOver = message[0] === READY && message[5] === IDLE;
      if (isOver && mode === 'transaction' && backend.client) {
        backend.client = undefined;
        idle.push(backend);
      }
    });
    await isReady;
    return backend;
  };
  const pooler = createServer((client) => {
    sockets.add(client);
    client.on('error', () => {});
    let own: Backend | undefined;
    let startup: Buffer | undefined;
    let work = Promise.resolve();
    const serve = async (piece: Buffer) => {
      if (!startup) {
        startup = piece;
        client.write(GREETING());
        return;
      }
      if (own?.client !== client) own = idle.pop() ?? (await open(startup));
      own.client = client;
      own.socket.write(piece);
    };
    client.on('data', (piece: Buffer) => {
      work = work.then(async () => serve(piece));
    });
    client.on('close', () => own?.client === client && own.socket.destroy());
  });
  await new Promise<void>((resolve) => pooler.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    pooler.close();
  });
  return (pooler.address() as AddressInfo).port;
}

/** Calls back with each message of the server: a letter, its length in four octets, and the rest. */
function eachMessage(socket: Socket, callback: (message: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('data', (piece: Buffer) => {
    rest = Buffer.concat([rest, piece]);
    while (rest.length >= 5 && rest.length >= 1 + rest.readInt32BE(1)) {
      const size = 1 + rest.readInt32BE(1);
      callback(rest.subarray(0, size));
      rest = rest.subarray(size);
    }
  });
}

/** AuthenticationOk, a BackendKeyData of its own, ReadyForQuery. */
const GREETING = () =>
  Buffer.concat([
    Buffer.from('R\0\0\0\b\0\0\0\0', 'latin1'),
    Buffer.from('K\0\0\0\f', 'latin1'),
    randomBytes(8),
    Buffer.from('Z\0\0\0\x05I', 'latin1'),
  ]);

const READY = 'Z'.charCodeAt(0);
const IDLE = 'I'.charCodeAt(0);
