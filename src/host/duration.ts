import { takes } from './option-values.ts';

/** Reads a duration such as 90s, 15m, 1h or 2d, in milliseconds. Throws ValueError. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text);
  const unit = UNITS_MS[match?.[2] ?? ''];
  if (!match || unit === undefined) throw takes('a duration such as 90s, 15m, 1h or 2d', text);
  return Number(match[1]) * unit;
}

/** Makes a function that reads a duration which is no shorter than this. It throws ValueError. */
export function durationFrom(minMs: number): (text: string) => number {
  return (text) => {
    const ms = parseDuration(text);
    if (ms < minMs) throw takes(`a duration of ${durationText(minMs)} or more`, text);
    return ms;
  };
}

/** A duration as parseDuration reads it, in the largest unit that it is whole in: 30s, 5d. */
export function durationText(ms: number): string {
  const [unit, size] = Object.entries(UNITS_MS)
    .toReversed()
    .find(([, each]) => ms >= each && ms % each === 0) ?? ['s', 1000];
  return `${ms / size}${unit}`;
}

/** A duration for people, in a unit that is exact enough: 1 s, 90 s, 15 min, 36 h, 5 d. Anything below a second is 1 s. */
export function showDuration(ms: number): string {
  const seconds = ms > 0 ? Math.max(1, Math.round(ms / 1000)) : 0;
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** When something happens, after a wait. */
export function showWait(ms: number): string {
  return ms <= 0 ? 'at once' : `in ${showDuration(ms)}`;
}

const UNITS_MS: Record<string, number> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
