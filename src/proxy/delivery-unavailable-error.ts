/** Nothing can be sent on now; the whole post is to come again later. */
export class DeliveryUnavailableError extends Error {
  override readonly name = 'DeliveryUnavailableError';
  /** When it is worth trying again; undefined: soon. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
