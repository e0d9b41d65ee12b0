/** Exit codes of sysexits(3), and 1: the answer is no. */
export const exitCodes = {
  ok: 0,
  no: 1,
  usage: 64,
  refused: 65,
  unreachable: 69,
  defect: 70,
  spool: 74,
  busy: 75,
  notPermitted: 77,
  configuration: 78,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends a command with an exit code and a sentence for the operator. */
export class CommandError extends Error {
  override readonly name: string = 'CommandError';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
