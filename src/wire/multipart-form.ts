import { Busboy } from '@fastify/busboy';
import { limits } from '../mail/limits.ts';
import { FormError } from './form.ts';

/**
 * Decodes multipart/form-data (RFC 7578) to bytes, as decodeForm does the other encoding; files are fields
 * as well. Rejects with FormError.
 */
export async function decodeMultipart(
  contentType: string,
  body: Buffer,
): Promise<Map<string, Buffer>> {
  const fields = new Map<string, Buffer>();
  try {
    await new Promise<void>((resolve, reject) => {
      const parser = new Busboy({
        headers: { 'content-type': contentType },
        isPartAFile: () => true, // A field would be decoded by some charset.
        limits: { files: limits.formFields },
      });
      parser.on('file', (name, stream) => {
        const pieces: Buffer[] = [];
        stream.on('data', (piece: Buffer) => pieces.push(piece));
        stream.on('end', () => fields.has(name) || fields.set(name, Buffer.concat(pieces)));
        stream.on('error', reject);
      });
      parser.on('filesLimit', () =>
        reject(new Error(`there are more than ${limits.formFields} form fields`)),
      );
      parser.on('error', reject);
      parser.on('finish', resolve);
      parser.end(body);
    });
  } catch (error) {
    throw new FormError(`the form is malformed: ${(error as Error).message}`);
  }
  return fields;
}
