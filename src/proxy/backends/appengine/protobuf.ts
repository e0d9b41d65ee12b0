/** The fields of a decoded message: the values of each field number, in their order. */
export type ProtobufFields = Map<number, (number | Buffer)[]>;

/** A field of the wire type that has a length: a string in UTF-8, bytes, or another message. */
export function encodeField(number: number, value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([varint(number * 8 + LENGTH_DELIMITED), varint(bytes.length), bytes]);
}

/**
 * Reads a message (protobuf.dev, Encoding): varints as numbers, fields with a length as bytes. Fields of a fixed width are
 * left out. Throws when it is not a message.
 */
export function decodeFields(message: Buffer): ProtobufFields {
  const fields: ProtobufFields = new Map();
  let at = 0;
  const readVarint = () => {
    let [value, unit] = [0, 1];
    for (;;) {
      const octet = message[at];
      if (octet === undefined || unit > 2 ** 63) throw new Error(NO_PROTOBUF);
      at += 1;
      value += (octet & 0x7f) * unit; // Not exact above 2^53, which no code or length is.
      if (octet < 0x80) return value;
      unit *= 128;
    }
  };
  const readBytes = (length: number) => {
    if (at + length > message.length) throw new Error(NO_PROTOBUF);
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = readVarint();
    const [number, type] = [Math.floor(tag / 8), tag % 8];
    const fixed = FIXED[type];
    if (fixed !== undefined) readBytes(fixed);
    else if (type !== VARINT && type !== LENGTH_DELIMITED) throw new Error(NO_PROTOBUF);
    else {
      const value = type === VARINT ? readVarint() : readBytes(readVarint());
      const values = fields.get(number);
      if (values) values.push(value);
      else fields.set(number, [value]);
    }
  }
  return fields;
}

function varint(value: number): Buffer {
  const octets: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...octets, rest]);
    octets.push((rest % 128) + 128);
  }
}

const NO_PROTOBUF = 'what it says is not protobuf: is it an API host at all?';
const [VARINT, LENGTH_DELIMITED] = [0, 2];
/** Bytes of the wire types of a fixed width. */
const FIXED: Partial<Record<number, number>> = { 1: 8, 5: 4 };
