import type { Backend, Delivery, Result } from '../../src/proxy/backends/backend.ts';

/** Delivers one message by a backend, as the proxy does. */
export async function deliverBy(
  backend: Backend,
  but: Partial<Delivery> & Pick<Delivery, 'recipients'>,
): Promise<Result[]> {
  const place = await backend.reserve(new AbortController());
  return place.deliver({
    key: 'web1',
    id: '0193d2b8c0de7000800000000000000a',
    sender: 'sender@example.org',
    bytes: Buffer.from('Subject: x\n\ntext\n'),
    ...but,
  });
}
