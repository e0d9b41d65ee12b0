/**
 * SQL: whether a column's address is the wanted one, or ends with it where that is @domain; upper and lower case are the
 * same. Both may be text or octets.
 */
export function fitsAddress(column: string, wanted: string): string {
  const [has, wants] = [column, wanted].map((octets) => `lower(CAST(${octets} AS TEXT))`);
  return `iif(substr(${wants}, 1, 1) = '@', substr(${has}, -length(${wants})), ${has}) = ${wants}`;
}
