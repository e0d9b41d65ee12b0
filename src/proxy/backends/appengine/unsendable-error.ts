/** The Mail API's fields cannot hold the message. */
export class UnsendableError extends Error {
  override readonly name = 'UnsendableError';
  readonly status: string;

  constructor(status: string, reason: string) {
    super(reason);
    this.status = status;
  }
}
