import type SMTPConnection from 'nodemailer/lib/smtp-connection';

/**
 * Waits for one step of a connection: what nodemailer calls back with, its error event, or `giveUp`,
 * which cuts the connection.
 */
export async function smtpStep<T>(
  connection: SMTPConnection,
  begin: (done: (error?: Error | null, result?: T) => void) => void,
  giveUp?: AbortSignal,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const settle = (error?: Error | null, result?: T) => {
      connection.removeListener('error', settle);
      giveUp?.removeEventListener('abort', abort);
      if (error) reject(error);
      else resolve(result as T);
    };
    const abort = () => {
      connection.close();
      settle(giveUp?.reason as Error);
    };
    connection.once('error', settle);
    giveUp?.addEventListener('abort', abort, { once: true });
    if (giveUp?.aborted) abort();
    else begin(settle);
  });
}
