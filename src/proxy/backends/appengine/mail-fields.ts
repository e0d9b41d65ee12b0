import { Thread } from '../../../host/thread.ts';
import { limits } from '../../../limits.ts';
import type { Delivery } from '../backend.ts';
import type { readFields } from './read-fields.ts';
import type { MailMessage } from './mail-message.ts';
import { htmlAsText } from './html-as-text.ts';
import { UnsendableError } from './unsendable-error.ts';

/**
 * The Mail API's fields for a message, and the names of the header fields that it does not take. HTML without a text gets
 * one. Throws UnsendableError, or the error of its thread.
 */
export async function mailFields({
  sender,
  recipients,
  bytes,
}: Delivery): Promise<{ message: MailMessage; dropped: string[] }> {
  // A copy: with a view the thread would be given the whole buffer.
  const read = await thread.call(sender, recipients, new Uint8Array(bytes));
  if ('unsendable' in read) throw new UnsendableError(read.status, read.unsendable);
  const { textBody, htmlBody, attachments } = read.message;
  const message = {
    ...read.message,
    textBody: textBody ?? (htmlBody ? await htmlAsText(htmlBody) : ''),
    attachments: attachments.map((each) => ({ ...each, data: asBuffer(each.data) })),
  };
  return { message, dropped: read.dropped };
}

/** A Buffer comes out of a thread as a plain Uint8Array. */
function asBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, length);
}

const thread = new Thread<Parameters<typeof readFields>, Awaited<ReturnType<typeof readFields>>>({
  file: new URL('appengine-worker.mjs', import.meta.url),
  name: 'readFields',
  ms: limits.mimeMs,
  heapMiB: limits.mimeHeapMiB,
});
