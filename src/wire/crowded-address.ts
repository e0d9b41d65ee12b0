/**
 * The first address in header fields such as To that has words behind it (`b@exa mple.org`, `a@b c@d`), as it
 * is written: a parser that is lenient would send to its beginning and drop the rest. Undefined where there is
 * none. Names may precede an address, and comments follow it.
 */
export function crowdedAddress(values: readonly string[]): string | undefined {
  for (const value of values) {
    let [mailbox, start] = ['', 0];
    for (const { 0: token, index } of value.matchAll(TOKEN)) {
      if (token.startsWith('(')) mailbox += ' ';
      else if (token.startsWith('"')) mailbox += 'quoted';
      else if (!SEPARATOR.test(token)) mailbox += token;
      else {
        if (isCrowded(mailbox)) return value.slice(start, index).trim();
        [mailbox, start] = ['', index + 1];
      }
    }
    if (isCrowded(mailbox)) return value.slice(start).trim();
  }
  return undefined;
}

/** Between < and > there is one address, whatever else there is. */
function isCrowded(mailbox: string): boolean {
  return !mailbox.includes('<') && /@\S*\s+\S/.test(mailbox);
}

const SEPARATOR = /^[,;:]$/;
/** A quoted string, a comment, with others in it, a separator, or what is between these. */
const TOKEN = /"(?:[^"\\]|\\.)*"?|\((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\)|[,;:]|[^"(,;:]+|./gs;
