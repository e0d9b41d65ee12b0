/** The message cannot be said in the Mail API's fields. */
export class UnsendableError extends Error {
  override readonly name = 'UnsendableError';
  readonly status: string;

  constructor(status: string, reason: string) {
    super(reason);
    this.status = status;
  }
}
