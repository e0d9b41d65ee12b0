import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { certificate } from './certificate.ts';
import { inCheckout, start } from './program.ts';

/**
 * An nginx before a proxy at HOST:PORT, with the configuration of debian/examples/nginx.conf, but for names,
 * port, certificate and the limit of bodies. All of it is in the folder.
 */
export async function nginx(
  t: TestContext,
  folder: string,
  address: string,
  bodyLimit: string,
): Promise<{ url: string; port: number; caFile: string }> {
  const sample = readFileSync(inCheckout('debian/examples/nginx.conf'), 'utf8');
  const { file } = await certificate(t, folder);
  const port = await freePort(); // Of IPv4 and IPv6.
  const changes: [RegExp, string][] = [
    [/listen 443/, `listen 127.0.0.1:${port}`],
    [/listen \[::\]:443/, `listen [::1]:${port}`],
    [/(?<=ssl_certificate ).*(?=;)/, file],
    [/(?<=ssl_certificate_key ).*(?=;)/, file.replace(/pem$/, 'key')],
    [/(?<=client_max_body_size ).*?(?=;)/, bodyLimit],
    [/127\.0\.0\.1:8025/, address],
  ];
  const server = changes.reduce((text, [pattern, to]) => {
    if (!pattern.test(text)) throw new Error(`the sample has no ${pattern}`);
    return text.replace(pattern, to);
  }, sample);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  const lines = [
    'daemon off;',
    'master_process off;', // One process, which a test can kill.
    `pid ${join(folder, 'nginx.pid')};`,
    'error_log stderr notice;',
    'events {}',
    `http {\naccess_log off;\n${temporary.join('\n')}\n${server}}\n`,
  ];
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, lines.join('\n'));
  const program = start(t, '/usr/sbin/nginx', ['-e', 'stderr', '-p', folder, '-c', config]);
  await program.says(/getrlimit/); // After the port is open.
  return { url: `https://127.0.0.1:${port}/`, port, caFile: file };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '::', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
