/** A time of day for people, where they are, from milliseconds since 1970: 2026-11-28 14:42:10 +0100; null for null. */
export function localTime<Time extends number | null>(ms: Time): Time extends null ? null : string;
export function localTime(ms: number | null): string | null {
  if (ms === null) return null;
  const eastMinutes = -new Date(ms).getTimezoneOffset();
  // The digits of UTC at the moment when UTC shows what is shown here.
  const shown = new Date(ms + eastMinutes * 60_000).toISOString().replace('T', ' ').slice(0, 19);
  const [hours, minutes] = [Math.floor(Math.abs(eastMinutes) / 60), Math.abs(eastMinutes) % 60];
  const offset = [hours, minutes].map((part) => String(part).padStart(2, '0')).join('');
  return `${shown} ${eastMinutes < 0 ? '-' : '+'}${offset}`;
}
