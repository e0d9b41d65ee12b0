/** What the proxy knows a message by: ids are made by hosts, and each host has only its own. */
export interface MessageName {
  /** The name of the key that it was posted with; '' for all keys without a name. */
  key: string;
  /** The id that the host gave it (webhook-id), or the proxy, to a post of HTTP v1. */
  id: string;
}

/** A message and who posted it. */
export interface PostedMessage extends MessageName {
  /** The address of the client, for people; see clientAddress. */
  client?: string;
}

/** Both as one word, which the ledger stores: `KEY/ID`, or `ID` without a name. Neither has a slash in it. */
export function storedName({ key, id }: MessageName): string {
  return key === '' ? id : `${key}/${id}`;
}

/** What storedName has made one word of. */
export function nameOfStored(word: string): MessageName {
  const at = word.indexOf('/');
  return { key: word.slice(0, Math.max(0, at)), id: word.slice(at + 1) };
}
