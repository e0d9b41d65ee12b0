/** Tells those that wait for a message when something of it was settled. */
export class Bell {
  readonly #listeners = new Map<string, Set<() => void>>();

  /** Calls back whenever the message is rung for, until the function that it returns is called. */
  listen(message: string, callback: () => void): () => void {
    const listeners = this.#listeners.get(message) ?? new Set();
    this.#listeners.set(message, listeners.add(callback));
    return () => {
      listeners.delete(callback);
      if (listeners.size === 0) this.#listeners.delete(message);
    };
  }

  ring(message: string): void {
    for (const listener of this.#listeners.get(message) ?? []) listener();
  }
}
