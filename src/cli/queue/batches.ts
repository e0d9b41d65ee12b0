import { limits } from '../../limits.ts';

/** Items in batches, for one transaction each: so many items, or fewer where they have many bytes. */
export function* batches<Item>(
  items: Iterable<Item>,
  count: number = limits.operatorBatch,
  sizeOf: (item: Item) => number = () => 0,
): Generator<Item[]> {
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    batch.push(item);
    bytes += sizeOf(item);
    if (batch.length < count && bytes < limits.transferBatchBytes) continue;
    yield batch;
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}
