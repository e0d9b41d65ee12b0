import { once } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { connectSocket, type HostPort } from '../../../host/net/connect-socket.ts';
import { hostPortText } from '../../../host/net/host-port.ts';
import { withinTime } from '../../../host/within-time.ts';
import { limits } from '../../../limits.ts';
import { BackendUnavailableError } from '../backend.ts';
import { decodeFields, encodeField, type ProtobufFields } from './protobuf.ts';

/** App Engine's API host. */
export type ApiHost = HostPort;

/** A call of one of App Engine's APIs (remote_api.Request of Google's remote_api.proto). */
export interface ApiCall {
  service: string;
  method: string;
  /** The method's own message. */
  request: Buffer;
  /** The security ticket of the HTTP request in which the call is made; without one the empty string. */
  ticket: string;
}

/** The answer to a call (remote_api.Response). */
export type ApiAnswer =
  | { kind: 'response' }
  | { kind: 'rpc error' | 'application error'; code: number; detail: string }
  /** An exception of the host, in a form that only clients in its language can read. */
  | { kind: 'exception' }
  /** An HTTP status other than 200. */
  | { kind: 'http'; code: number };

/**
 * Makes a call, as Google's own clients do: one HTTP request to /rpc_http. Rejects with BackendUnavailableError
 * when the host cannot have had the whole call, and with any other error when it may have.
 */
export async function callApi(
  api: ApiHost,
  call: ApiCall,
  deadlineMs: number = limits.appengineDeadlineMs,
): Promise<ApiAnswer> {
  const lateMs = deadlineMs + limits.appengineGraceMs;
  let sent: ClientRequest | undefined;
  try {
    return await withinTime(lateMs, 'no answer', {}, async ({ signal }) => {
      signal.addEventListener('abort', () => sent?.destroy());
      try {
        const socket = await connectSocket(api, signal);
        sent = post(socket, api, call, deadlineMs);
        const response = await responseTo(sent);
        if (response.statusCode !== 200) return { kind: 'http', code: response.statusCode ?? 0 };
        const answer = await readWhole(response);
        if (!sent.writableFinished) await once(sent, 'finish', { signal }); // A request that was not read whole has no effect.
        return readAnswer(decodeFields(answer));
      } catch (error) {
        throw sent && signal.aborted ? signal.reason : error;
      }
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const text = `App Engine's API host ${hostPortText(api)}: ${message}`;
    // Without the end of its body a request has no effect.
    if (sent?.writableFinished) throw new Error(text, { cause: error });
    throw new BackendUnavailableError(NOT_THERE.has(code ?? '') ? `${text}; ${REMEDY}` : text);
  } finally {
    sent?.destroy();
  }
}

/** Connections are not kept: one that died unseen would leave a message's outcome unknown. */
function post(
  socket: Socket,
  { host, port }: ApiHost,
  call: ApiCall,
  deadlineMs: number,
): ClientRequest {
  const body = Buffer.concat([
    encodeField(2, call.service),
    encodeField(3, call.method),
    encodeField(4, call.request),
    encodeField(5, call.ticket),
  ]);
  const sent = request({
    createConnection: () => socket,
    host,
    port,
    path: '/rpc_http',
    method: 'POST',
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': body.length,
      'x-google-rpc-service-endpoint': 'app-engine-apis',
      'x-google-rpc-service-method': '/VMRemoteAPI.CallRemoteAPI',
      'x-google-rpc-service-deadline': String(deadlineMs / 1000),
    },
  });
  return sent.end(body);
}

async function responseTo(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once('response', resolve);
    sent.on('error', reject); // It may come again while the answer is read.
  });
}

async function readWhole(response: IncomingMessage): Promise<Buffer> {
  const read: Buffer[] = [];
  let size = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > limits.appengineAnswerBytes) throw new Error('its answer is too long');
    read.push(piece);
  }
  const { 'content-length': length, 'transfer-encoding': encoding } = response.headers;
  if (size === 0 && length === undefined && encoding === undefined)
    throw new Error('its answer was cut off');
  return Buffer.concat(read);
}

/** Errors first, in the order of Google's clients. An empty answer is a response without fields. */
function readAnswer(fields: ProtobufFields): ApiAnswer {
  const [rpcError] = fields.get(5) ?? [];
  if (rpcError !== undefined) return readError('rpc error', rpcError);
  const [applicationError] = fields.get(3) ?? [];
  if (applicationError !== undefined) return readError('application error', applicationError);
  if (fields.has(2) || fields.has(4)) return { kind: 'exception' };
  return { kind: 'response' };
}

function readError(kind: 'rpc error' | 'application error', value: number | Buffer): ApiAnswer {
  const fields = decodeFields(Buffer.from(value as Buffer));
  const [code, detail] = [fields.get(1)?.[0], fields.get(2)?.[0]];
  if (typeof code !== 'number') throw new Error('its answer is an error without a code');
  return { kind, code, detail: Buffer.isBuffer(detail) ? detail.toString() : '' };
}

const NOT_THERE = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
const REMEDY = 'the appengine backend works on App Engine only, with app_engine_apis in app.yaml';
