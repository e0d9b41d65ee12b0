/** There is no connection. `code` is that of Node, such as ECONNREFUSED; ETIMEDOUT when time was up. */
export class ConnectError extends Error {
  override name = 'ConnectError';
  readonly code: string;

  constructor(text: string, code: string, options?: ErrorOptions) {
    super(text, options);
    this.code = code;
  }

  /** For a stage that was given up, with the reason of its signal. */
  static givenUp({ reason }: AbortSignal, text: string): ConnectError {
    const { message, code } = Object(reason) as NodeJS.ErrnoException;
    const known = typeof code === 'string' ? code : 'ABORT_ERR';
    return new ConnectError(`${message ?? String(reason)}: ${text}`, known);
  }
}
