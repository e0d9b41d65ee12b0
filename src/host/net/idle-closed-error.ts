/** A connection was closed while it was idle: nothing of the request was sent. */
export class IdleClosedError extends Error {
  override readonly name = 'IdleClosedError';
  readonly code = 'ECONNRESET';
}
