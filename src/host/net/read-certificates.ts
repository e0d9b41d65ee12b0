import { X509Certificate } from 'node:crypto';
import { exitCodes, CommandError } from '../command-error.ts';
import { readRegularFile } from '../regular-file.ts';

/** Reads a file of certificate authorities (PEM). Throws CommandError 78 also for one that has none. */
export function readCertificates(file: string): string {
  try {
    const text = readRegularFile(file).toString();
    void new X509Certificate(text); // TLS would pass over what is no certificate.
    return text;
  } catch (error) {
    throw new CommandError(
      exitCodes.configuration,
      `cannot read certificates (PEM) from ${file}: ${(error as Error).message}`,
    );
  }
}
