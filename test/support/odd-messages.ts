/**
 * A message with all that mail systems like to change: NUL, every 8-bit octet, lines of dots, lines above
 * 998 octets, trailing spaces, an empty end. Its line ends are LF, and it has no bare CR.
 */
export const octets = Buffer.concat([
  Buffer.from('Subject: octets\nBcc: hidden@example.org\nX-Long: '),
  Buffer.from(`${'long '.repeat(300)}\n\n`),
  Buffer.from(Array.from({ length: 256 }, (_, octet) => octet).filter((octet) => octet !== 0x0d)),
  Buffer.from(`\n.\n..\n.x\n\0\n${'y'.repeat(20_000)}\n \t \nFrom me\n\n\n`),
]);
