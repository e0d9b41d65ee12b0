import { statuses } from '../../../mail/enhanced-status.ts';
import { BackendUnavailableError, type Result } from '../backend.ts';

/**
 * The results of several calls for the recipients of one message, one call for each batch, one after the other. When a call
 * has not brought certain results, no other is made. Rejects as the first call does where that was unavailable: then
 * nothing was sent. Recipients that no call has had get the status by which they are posted again at once.
 */
export async function inBatches(
  batches: readonly (readonly string[])[],
  call: (recipients: readonly string[]) => Promise<Result[]>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const [at, batch] of batches.entries()) {
    const { given, why } = await resultsOfCall(batch, call, at === 0);
    results.push(...given);
    if (why === undefined) continue;
    const rest = batches.slice(given.length > 0 ? at + 1 : at).flat();
    return [
      ...results,
      ...rest.map((recipient) => ({ recipient, status: statuses.surplus, reason: why })),
    ];
  }
  return results;
}

/** Recipients in batches of `size` each; the last one may have fewer. */
export function batchesOf(recipients: readonly string[], size: number): string[][] {
  const count = Math.ceil(recipients.length / size);
  return Array.from({ length: count }, (_, at) => recipients.slice(at * size, (at + 1) * size));
}

/** What a call has given, and why no other is to be made. */
async function resultsOfCall(
  batch: readonly string[],
  call: (recipients: readonly string[]) => Promise<Result[]>,
  isFirst: boolean,
): Promise<{ given: Result[]; why?: string | undefined }> {
  try {
    const given = await call(batch);
    return { given, why: given.find((result) => 'unknown' in result)?.unknown };
  } catch (error) {
    const { message } = error as Error;
    if (!(error instanceof BackendUnavailableError)) {
      return { given: batch.map((recipient) => ({ recipient, unknown: message })), why: message };
    }
    if (isFirst) throw error;
    return { given: [], why: message };
  }
}
