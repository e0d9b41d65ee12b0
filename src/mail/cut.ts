/** The beginning of a text, in at most `charsMax` UTF-16 code units; three dots tell that there was more. */
export function cut(text: string, charsMax: number): string {
  if (text.length <= charsMax) return text;
  // No half of a character is left.
  return text.slice(0, charsMax - DOTS.length).replace(/[\ud800-\udbff]$/, '') + DOTS;
}

const DOTS = '...';
