/**
 * Finds the first address in header fields such as To that has words behind it (`b@exa mple.org`,
 * `a@b c@d`), and returns it as it is written; undefined where there is none. A lenient parser would send to
 * its beginning and drop the rest. A name may precede an address, and comments may follow it.
 */
export function crowdedAddress(values: readonly string[]): string | undefined {
  for (const value of values) {
    let [mailbox, start, depth] = ['', 0, 0];
    for (const { 0: token, index } of value.matchAll(TOKEN)) {
      if (token === '(') [mailbox, depth] = [`${mailbox} `, depth + 1];
      else if (token === ')' && depth > 0) depth -= 1;
      else if (depth > 0) continue;
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
  const at = mailbox.indexOf('@');
  return at >= 0 && !mailbox.includes('<') && /\s/.test(mailbox.slice(at).trimEnd());
}

const SEPARATOR = /^[,;:]$/;
/** A quoted string, an escape, the ends of a comment, a separator, or what is between these. */
const TOKEN = /"(?:[^"\\]|\\.?)*"?|\\.?|[(),;:]|[^"\\(),;:]+/gs;
