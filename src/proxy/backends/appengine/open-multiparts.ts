/** The multiparts that go on where a message is read from its beginning to its end. */
export class OpenMultiparts {
  readonly #open: Open[] = [];
  /** By their boundaries; of several with the same, the innermost. */
  readonly #named = new Map<string, Open>();

  get some(): boolean {
    return this.#open.length > 0;
  }

  get innermost(): string {
    return this.#open.at(-1)?.boundary ?? '';
  }

  /** Does nothing with what is no multipart, and has no boundary. */
  add(boundary: string | undefined): void {
    if (boundary === undefined) return;
    const depth = this.#open.length;
    const open = { boundary, depth, hasParts: false, hidden: this.#named.get(boundary) };
    this.#open.push(open);
    this.#named.set(boundary, open);
  }

  /**
   * Ends what a line ends: all multiparts in the one whose delimiter it is, and that one too when it is its last.
   * Returns the delimiter without blanks, and undefined for any other line; such is a last one before the first
   * part of its multipart. Blanks may follow a delimiter (RFC 2046 5.1.1).
   */
  close(line: string): { line: string; isLast: boolean } | undefined {
    const name = line.slice(2);
    const next = this.#named.get(name);
    const last = name.endsWith('--') ? this.#named.get(name.slice(0, -2)) : undefined;
    const isLast = last !== undefined && last.depth > (next?.depth ?? -1);
    const found = isLast ? last : next;
    if (!found || (isLast && !found.hasParts && found === this.#open.at(-1))) return undefined;
    found.hasParts = true;
    const ended = this.#open.splice(found.depth + (isLast ? 0 : 1));
    for (const { boundary, hidden } of ended.toReversed()) {
      if (hidden) this.#named.set(boundary, hidden);
      else this.#named.delete(boundary);
    }
    return { line: `--${found.boundary}${isLast ? '--' : ''}\n`, isLast };
  }
}

interface Open {
  boundary: string;
  /** How many are around it. */
  depth: number;
  hasParts: boolean;
  /** Another with the same boundary around it. */
  hidden: Open | undefined;
}
