import { fault, notChecked, ok, type Finding } from '../../host/finding.ts';
import { openChannel } from '../../host/net/open-channel.ts';
import { WebProxyError, webProxyFor } from '../../host/net/web-proxy.ts';

/**
 * Checks the API of a provider without sending: connection, TLS, and by `login` whether it takes our key. Where one of
 * them fails, what follows is not checked.
 */
export async function* checkProvider(
  url: URL,
  login: () => Promise<Finding>,
): AsyncGenerator<Finding> {
  const where = `the server ${url.host}`;
  try {
    const socket = await openChannel({ url, webProxy: webProxyFor(url) }, []);
    socket.destroy();
  } catch (error) {
    const isOfTls = OF_TLS.test((error as NodeJS.ErrnoException).code ?? '');
    if (isOfTls) yield ok('connection', `${where} answers`);
    const step = isOfTls ? 'tls' : 'connection';
    yield fault(step, `${where}: ${(error as Error).message}`, remedy(error, isOfTls));
    for (const each of isOfTls ? ['login'] : ['tls', 'login']) {
      yield notChecked(each, 'there is no connection');
    }
    return;
  }
  yield ok('connection', `${where} answers`);
  yield ok('tls', url.protocol === 'https:' ? ENCRYPTED : 'it is not encrypted, on this machine');
  yield await login().catch((error: Error) => fault('login', error.message, LATER));
}

function remedy(error: unknown, isOfTls: boolean): string {
  if (error instanceof WebProxyError)
    return `set ${error.variable} right, or add the name to no_proxy`;
  return isOfTls ? CERTIFICATE : REACH;
}

/** The codes of OpenSSL, and those of Node for certificates. */
const OF_TLS = /CERT|TLS|SSL|VERIFY|SIGNED|EPROTO/;

const ENCRYPTED = 'the connection is encrypted, and the certificate is trusted';
const REACH =
  'see whether the address is right, and the network lets connections out to it; the time for one was up, or nobody answered';
const CERTIFICATE =
  'see whether the address is right, and nobody is between this machine and the provider; ca-certificates has to be installed';
const LATER = 'see whether the provider has trouble at present, and check again';
