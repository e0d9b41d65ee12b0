import { fieldsNamed, headerValue } from '../../mail/headers.ts';
import { limits } from '../../limits.ts';

/**
 * Whether a message says that it is a report or another automatic answer: by Content-Type multipart/report
 * (RFC 6522), or by Auto-Submitted with anything but `no` (RFC 3834, section 5). A field that is there twice is ignored:
 * programs differ in which of them they read.
 */
export function isReport(message: Buffer): boolean {
  const type = onlyValue(message, 'content-type') ?? '';
  const [, auto = 'no'] = KEYWORD.exec(onlyValue(message, 'auto-submitted') ?? '') ?? [];
  return REPORT.test(type) || auto.toLowerCase() !== 'no';
}

/** The value of a field that is there exactly once. */
function onlyValue(message: Buffer, name: string): string | undefined {
  const fields = fieldsNamed(message, name);
  const [first, second] = [fields.next().value, fields.next().value];
  if (!first || second || first.end - first.start > limits.headerBytes) return undefined;
  return headerValue(message, first);
}

const REPORT = /^multipart\/report[ \t]*(?:;|$)/i;
const KEYWORD = /^([a-z][a-z0-9-]*)[ \t]*(?:;|$)/i;
