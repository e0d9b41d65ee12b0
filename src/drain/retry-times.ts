import { durationText, parseDuration } from '../host/duration.ts';
import type { OptionTable, Origins, Values } from '../host/options.ts';
import { limits } from '../limits.ts';

/** How long a message is tried that meets trouble of its own, and how often; in milliseconds of observed time. */
export interface RetryTimes {
  lifetimeMs: number;
  /** After its first deferral; each further wait is twice as long, at most the longest. */
  firstWaitMs: number;
  longestWaitMs: number;
}

/** Options of drain; the bounds keep what the proxy has forgotten from being posted, and mail from never being tried. */
export const retryOptions = {
  lifetime: {
    value: 'DURATION',
    parse: parseDuration,
    default: durationText(limits.lifetimeMs),
    describe: 'How long a message is tried that is deferred again and again',
  },
  'first-wait': {
    value: 'DURATION',
    parse: parseDuration,
    default: durationText(limits.messageFirstMs),
    describe: 'Wait after the first deferral of a message; each further wait is twice as long',
  },
  'longest-wait': {
    value: 'DURATION',
    parse: parseDuration,
    default: durationText(limits.messageMaxMs),
    describe: 'Longest wait between two attempts of a message',
  },
} as const satisfies OptionTable;

/** The times that the options say. Throws CommandError 64 or 78 for one that is out of its bounds. */
export function retryTimes(options: Values<typeof retryOptions>, origins: Origins): RetryTimes {
  const { lifetimeMinMs, lifetimeMaxMs, messageWaitMinMs, messageWaitMaxMs } = limits;
  const { lifetime: lifetimeMs, longestWait: longestWaitMs, firstWait: firstWaitMs } = options;
  const longestMax = Math.min(messageWaitMaxMs, lifetimeMs);
  requireWithin('lifetime', lifetimeMs, lifetimeMinMs, lifetimeMaxMs);
  requireWithin('longest-wait', longestWaitMs, messageWaitMinMs, longestMax);
  requireWithin('first-wait', firstWaitMs, messageWaitMinMs, longestWaitMs);
  return { lifetimeMs, firstWaitMs, longestWaitMs };

  function requireWithin(name: string, ms: number, min: number, max: number): void {
    if (ms >= min && ms <= max) return;
    const range = `from ${durationText(min)} to ${durationText(max)}`;
    // A default can only be too long for the longest wait that was given.
    if (origins.has(name))
      throw origins.error(name, `takes ${range} here and got ${durationText(ms)}`);
    throw origins.error('longest-wait', `is shorter than --${name}, which is ${durationText(ms)}`);
  }
}
