import { encodeForm } from '../../src/wire/v1/form.ts';
import { signV1 } from '../../src/wire/v1/sign-v1.ts';
import { exchange, type HttpAnswer } from './signed-post.ts';

/** A post of HTTP v1; what is left out is made up. */
export interface FormPost {
  key: string;
  msg?: Buffer | string;
  /** Further fields, or others than belong to it. */
  fields?: Record<string, Buffer | string>;
  /** Instead of a form of the above. */
  body?: Buffer | string;
  headers?: Record<string, string>;
}

/** The body of a post. */
export function encodeFormPost({ key, msg = MESSAGE, fields = {}, body }: FormPost): Buffer {
  if (body !== undefined) return Buffer.from(body);
  const bytes = Buffer.from(msg);
  return encodeForm({ msg: bytes, signature: signV1(Buffer.from(key), bytes), ...fields });
}

/** Posts to a proxy at HOST:PORT. */
export async function formPost(address: string, post: FormPost): Promise<HttpAnswer> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded', ...post.headers };
  return exchange(address, { method: 'POST', headers, body: encodeFormPost(post) });
}

const MESSAGE = 'From: me@example.com\nTo: you@example.org\nSubject: x\n\nHello\n';
