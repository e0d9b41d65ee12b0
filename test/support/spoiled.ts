/** Bytes of which one is changed, missing or doubled. */
export interface Spoiled {
  position: number;
  how: string;
  bytes: Buffer;
}

/**
 * Every way to spoil one byte: at each position in turn its lowest, case and highest bit, no byte, and two.
 * What comes after the last byte is not read and spoils nothing.
 */
export function* spoiled(whole: Buffer): Generator<Spoiled> {
  for (let position = 0; position < whole.length; position += 1) {
    const before = whole.subarray(0, position);
    const after = whole.subarray(position + 1);
    const byte = whole[position] ?? 0;
    const spoil = (how: string, ...bytes: number[]) => {
      return { position, how, bytes: Buffer.concat([before, Buffer.from(bytes), after]) };
    };
    for (const bit of [0x01, 0x20, 0x80]) yield spoil(`bit ${bit} of`, byte ^ bit);
    yield spoil('without');
    if (after.length > 0) yield spoil('twice', byte, byte);
  }
}

/** Says which positions of a request or answer are signed: the values of the webhook headers, and the body. */
export function signedPositions(whole: Buffer): (position: number) => boolean {
  const bodyFrom = whole.indexOf('\r\n\r\n') + 4;
  const head = whole.subarray(0, bodyFrom).toString('latin1');
  const values = [...head.matchAll(/(?<=^webhook-(?:id|timestamp|signature): )\S+/gm)];
  if (values.length !== 3) throw new Error(`it is not signed: ${head}`);
  return (position) =>
    position >= bodyFrom ||
    values.some(({ index, 0: value }) => position >= index && position < index + value.length);
}
