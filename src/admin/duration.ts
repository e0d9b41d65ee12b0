import { exitCodes, Failure } from '../host/failure.ts';

/** Reads a duration such as 90s, 15m, 1h or 2d, in milliseconds. Throws Failure 64. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text);
  const unit = UNITS_MS[match?.[2] ?? ''];
  if (!match || unit === undefined) {
    throw new Failure(
      exitCodes.usage,
      `expected a duration such as 90s, 15m, 1h or 2d and got ${text}`,
    );
  }
  return Number(match[1]) * unit;
}

/** A duration in its largest fitting unit, such as 3m or 5h. */
export function shortDuration(ms: number): string {
  const units = Object.entries(UNITS_MS) as [string, number][];
  const [name, unit] = units.findLast(([, unit]) => ms >= unit) ?? ['s', 1000];
  return `${Math.max(0, Math.floor(ms / unit))}${name}`;
}

const UNITS_MS: Partial<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
