import type { InferredOptionTypes, Options } from 'yargs';
import { durationText, parseDuration } from '../host/duration.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
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
    type: 'string',
    default: durationText(limits.lifetimeMs),
    describe: 'How long a message is tried that is deferred again and again',
    requiresArg: true,
  },
  'first-wait': {
    type: 'string',
    default: durationText(limits.messageFirstMs),
    describe: 'How long a message waits that is deferred; each further wait is twice as long',
    requiresArg: true,
  },
  'longest-wait': {
    type: 'string',
    default: durationText(limits.messageMaxMs),
    describe: 'The longest of these waits',
    requiresArg: true,
  },
} as const satisfies Record<string, Options>;

/** The times that the options say. Throws Failure 64 for what is no duration or out of its bounds. */
export function retryTimes(options: InferredOptionTypes<typeof retryOptions>): RetryTimes {
  const { lifetimeMinMs, lifetimeMaxMs, messageWaitMinMs, messageWaitMaxMs } = limits;
  const lifetimeMs = within('lifetime', options.lifetime, lifetimeMinMs, lifetimeMaxMs);
  const longestMax = Math.min(messageWaitMaxMs, lifetimeMs);
  const longest = options['longest-wait'];
  const longestWaitMs = within('longest-wait', longest, messageWaitMinMs, longestMax);
  const first = options['first-wait'];
  return {
    lifetimeMs,
    firstWaitMs: within('first-wait', first, messageWaitMinMs, longestWaitMs),
    longestWaitMs,
  };
}

function within(option: string, text: string, min: number, max: number): number {
  const ms = parseDuration(text);
  if (ms >= min && ms <= max) return ms;
  throw new CommandError(
    exitCodes.usage,
    `--${option} is from ${durationText(min)} to ${durationText(max)} here, and not ${text}`,
  );
}
