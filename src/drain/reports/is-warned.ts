import { headerValues, parseHeaders } from '../../mail/headers.ts';

/**
 * Whether the sender of a message with this header section is warned of a delay: not when a program or a
 * list sent it (RFC 3834 2, RFC 2369, RFC 2919), which would only answer or count it.
 */
export function isWarned(header: Buffer): boolean {
  const headers = parseHeaders(header);
  const says = (name: string, what: RegExp) =>
    headerValues(header, headers, name).some((value) => what.test(value));
  return !(
    headers.fields.some(({ name }) => name.startsWith('list-')) ||
    says('precedence', /^(?:bulk|list|junk)$/i) ||
    says('auto-submitted', /^(?!no\b)/i)
  );
}
