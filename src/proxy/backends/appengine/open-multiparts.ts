/** The multiparts that have not ended where a message is read from its beginning to its end. */
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

  /** Does nothing without a boundary: then it is not a multipart. */
  add(boundary: string | undefined): void {
    if (boundary === undefined) return;
    const depth = this.#open.length;
    const open = { boundary, depth, hasParts: false, hidden: this.#named.get(boundary) };
    this.#open.push(open);
    this.#named.set(boundary, open);
  }

  /**
   * Ends the multiparts that a delimiter ends: all in the one that it belongs to, and that one too when it is its last.
   * Returns the delimiter without blanks, which may follow it (RFC 2046 5.1.1), and undefined for any other line. A last
   * delimiter before the first part of its multipart is not one.
   */
  close(line: string): { line: string; isLast: boolean } | undefined {
    const delimited = this.#delimitedBy(line.slice(2));
    if (!delimited) return undefined;
    const { open, isLast } = delimited;
    if (isLast && !open.hasParts && open === this.#open.at(-1)) return undefined;
    open.hasParts = true;
    this.#end(open.depth + (isLast ? 0 : 1));
    return { line: `--${open.boundary}${isLast ? '--' : ''}\n`, isLast };
  }

  /** The multipart that a delimiter, given without its dashes, belongs to; of two, the inner one. */
  #delimitedBy(name: string): { open: Open; isLast: boolean } | undefined {
    const next = this.#named.get(name);
    const last = name.endsWith('--') ? this.#named.get(name.slice(0, -2)) : undefined;
    if (last && last.depth > (next?.depth ?? -1)) return { open: last, isLast: true };
    return next && { open: next, isLast: false };
  }

  /** Ends all multiparts that have so many, or more, around them. */
  #end(depth: number): void {
    for (const { boundary, hidden } of this.#open.splice(depth).toReversed()) {
      if (hidden) this.#named.set(boundary, hidden);
      else this.#named.delete(boundary);
    }
  }
}

interface Open {
  boundary: string;
  /** How many are around it. */
  depth: number;
  hasParts: boolean;
  /** The one around it that has the same boundary. */
  hidden: Open | undefined;
}
