/** A timer for answers of ours: one that comes early is right as well, so no time is added after a suspension. */
export function earlyTimer(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms).unref();
  return () => clearTimeout(timer);
}
