/** The members of a JSON object in UTF-8; none where it is another value. Throws an Error for what is not JSON. */
export function parseJson(bytes: Uint8Array): Record<string, unknown> {
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  return membersOf(value);
}

/** The members of a value of JSON; none where it is no object. */
export function membersOf(value: unknown): Record<string, unknown> {
  return (value ?? {}) as Record<string, unknown>;
}
