import { unlessDamaged } from '../../sqlite/is-corruption.ts';
import { limits } from '../../limits.ts';
import { headerValues, parseHeaders } from '../../mail/headers.ts';
import { hasBody, readBody } from '../../spool/body.ts';
import type { Listed } from '../../spool/list.ts';
import type { Spool } from '../../spool/spool.ts';

/** The subject of a message as it is written there, unfolded; null without one or without its bytes. */
export function subjectOf(spool: Spool, { seq, size }: Listed): string | null {
  if (!hasBody(spool, seq)) return null;
  const part = unlessDamaged(() => {
    const [first] = readBody(spool, seq, size);
    return first;
  });
  const header = part?.subarray(0, limits.headerBytes);
  return (header && headerValues(header, parseHeaders(header), 'subject')[0]) ?? null;
}
