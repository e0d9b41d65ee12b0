import { limits } from '../../limits.ts';
import type { Imported } from '../../spool/import.ts';

/** Messages in batches for one transaction each. */
export function* inBatches(messages: Iterable<Imported>): Generator<Imported[]> {
  let batch: Imported[] = [];
  let bytes = 0;
  for (const message of messages) {
    batch.push(message);
    bytes += message.size;
    if (batch.length < limits.operatorBatch && bytes < limits.transferBatchBytes) continue;
    yield batch;
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}
