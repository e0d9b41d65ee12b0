import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { text } from 'node:stream/consumers';

/** What the endpoint answers to a form: a body for 200, or a status, a body and headers. */
export type TokenAnswer =
  object | { status: number; body: object | string; headers?: Record<string, string> };

/** A token endpoint of OAuth 2.0 (RFC 6749 3.2) on loopback, which keeps the forms that were posted. */
export async function tokenServer(
  t: TestContext,
  answer: (form: URLSearchParams) => TokenAnswer | Promise<TokenAnswer>,
): Promise<{ url: URL; forms: URLSearchParams[] }> {
  const forms: URLSearchParams[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const form = new URLSearchParams(await text(request));
    forms.push(form);
    const given = await answer(form);
    const whole = 'status' in given && 'body' in given ? given : { status: 200, body: given };
    const said = typeof whole.body === 'string' ? whole.body : JSON.stringify(whole.body);
    response.writeHead(whole.status, 'headers' in whole ? whole.headers : {}).end(said);
  };
  const server = createServer((request, response) => {
    void serve(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: new URL(`http://127.0.0.1:${port}/token`), forms };
}
