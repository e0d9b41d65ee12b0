/** Aborts when the process is asked to end: SIGTERM, or Ctrl-C. */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => controller.abort());
  }
  return controller.signal;
}
