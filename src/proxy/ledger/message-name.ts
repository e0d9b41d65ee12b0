/** The name of a message for the proxy: hosts choose the ids, so each host has ids of its own. */
export interface MessageName {
  /** The name of the key that it was posted with; '' for all keys without a name. */
  key: string;
  /** The id that the host gave it (webhook-id), or the proxy, to a post of HTTP v1. */
  id: string;
}

/** A message and the client that posted it. */
export interface PostedMessage extends MessageName {
  /** The address of the client, for people; see clientAddress. */
  client?: string;
}

/** Both as one word, for the ledger: `KEY/ID`, or `ID` for a key without a name. Neither contains a slash. */
export function storedName({ key, id }: MessageName): string {
  return key === '' ? id : `${key}/${id}`;
}

/** The inverse of storedName. */
export function nameOfStored(word: string): MessageName {
  const at = word.indexOf('/');
  return { key: word.slice(0, Math.max(0, at)), id: word.slice(at + 1) };
}
