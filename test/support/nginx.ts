import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { certificate } from './certificate.ts';
import { inCheckout, start } from './program.ts';

/** How an nginx differs from the sample. */
interface NginxOptions {
  bodyLimit: string;
  /** The name in its certificate, and in its URL. */
  name?: string;
  listens?: string;
}

/**
 * An nginx before a proxy at HOST:PORT, with the configuration of debian/examples/nginx.conf, but for names,
 * port, certificate and the limit of bodies. It listens at `listens`, an address of IPv4. All of it is in the folder.
 */
export async function nginx(
  t: TestContext,
  folder: string,
  address: string,
  { bodyLimit, name = 'localhost', listens = '127.0.0.1' }: NginxOptions,
): Promise<{ url: string; port: number; caFile: string }> {
  const sample = readFileSync(inCheckout('debian/examples/nginx.conf'), 'utf8');
  const { file } = await certificate(t, folder, name);
  const port = await freePort(); // Of IPv4 and IPv6.
  const changes: [RegExp, string][] = [
    [/listen 443/, `listen ${listens}:${port}`],
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
    (each) => `${each}_temp_path ${join(folder, each)};`,
  );
  const lines = [
    'daemon off;',
    'master_process off;', // One process, which a test can kill.
    `pid ${join(folder, 'nginx.pid')};`,
    'error_log stderr notice;',
    'events { worker_connections 4096; }',
    `http {\naccess_log off;\n${temporary.join('\n')}\n${server}}\n`,
  ];
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, lines.join('\n'));
  const program = start(t, '/usr/sbin/nginx', ['-e', 'stderr', '-p', folder, '-c', config]);
  await program.says(/getrlimit/); // After the port is open.
  const host = name === 'localhost' ? listens : name;
  return { url: `https://${host}:${port}/`, port, caFile: file };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '::', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
