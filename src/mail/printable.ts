/**
 * Makes foreign text fit for a terminal or a one-line journal entry: control characters, line and
 * paragraph separators, direction marks and lone surrogates are shown as \xNN or \u{NNNN}.
 */
export function printable(text: string): string {
  return text.replace(unprintable(), (character) => {
    const code = character.codePointAt(0) ?? 0;
    // A lone surrogate of decodeAddress stands for one octet.
    const octet = code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : code;
    return octet <= 0xff
      ? `\\x${octet.toString(16).padStart(2, '0')}`
      : `\\u{${octet.toString(16)}}`;
  });
}

/** Made when it is wanted: exim-pipe starts anew for each message, and seldom wants it. */
const unprintable = () =>
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u{61c}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]/gu;
