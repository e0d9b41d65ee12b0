/** The columns of rows, as unnest takes them. */
export function columns<Value>(rows: readonly (readonly Value[])[], count: number): Value[][] {
  return Array.from({ length: count }, (_, at) => rows.map((row) => row[at] as Value));
}
