/** Reads yes or no, true or false, 1 or 0; undefined when it is none of them. */
export function parseBoolean(text: string): boolean | undefined {
  if (/^(?:true|1|yes)$/i.test(text)) return true;
  if (/^(?:false|0|no)$/i.test(text)) return false;
  return undefined;
}
