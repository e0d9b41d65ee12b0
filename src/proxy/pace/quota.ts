import { takes } from '../../host/option-values.ts';

/** So many recipients in each window of so many milliseconds. */
export interface Quota {
  recipients: number;
  windowMs: number;
}

/** Reads NUMBER/s, NUMBER/min or NUMBER/h. Throws ValueError. */
export function parsePace(text: string): Quota {
  const { number, unit = '' } = /^(?<number>\d{1,9})\/(?<unit>s|min|h)$/.exec(text)?.groups ?? {};
  const windowMs = WINDOWS[unit];
  if (Number(number) > 0 && windowMs !== undefined) return { recipients: Number(number), windowMs };
  throw takes(
    'a number of recipients in a second, a minute or an hour, such as 14/s, 30/min or 500/h,',
    text,
  );
}

/** The quota of --pace-day. */
export function dayQuota(recipients: number): Quota {
  return { recipients, windowMs: DAY_MS };
}

/** The quota for people. */
export function quotaText({ recipients, windowMs }: Quota): string {
  return windowMs === DAY_MS
    ? `--pace-day ${recipients}`
    : `--pace ${recipients}/${Object.keys(WINDOWS).find((unit) => WINDOWS[unit] === windowMs)}`;
}

const WINDOWS: Partial<Record<string, number>> = { s: 1000, min: 60_000, h: 3_600_000 };
const DAY_MS = 86_400_000;
