/** Whether PostgreSQL can have this text: it has no NUL, and is UTF-8. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && Buffer.from(text).toString() === text;
}

/** The text without what PostgreSQL cannot have. */
export function storable(text: string): string {
  return Buffer.from(text.replaceAll('\0', '')).toString();
}
