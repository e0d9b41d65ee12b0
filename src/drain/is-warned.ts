import type { HeaderField } from '../mail/headers.ts';

/**
 * Whether the sender of a message with these fields is warned of a delay: not when a program or a list
 * sent it (RFC 3834 2, RFC 2369, RFC 2919), which would only answer or count it.
 */
export function isWarned(fields: readonly HeaderField[]): boolean {
  return !fields.some(
    ({ name, value }) =>
      name.startsWith('list-') ||
      (name === 'precedence' && /^(?:bulk|list|junk)$/i.test(value)) ||
      (name === 'auto-submitted' && !/^no\b/i.test(value)),
  );
}
