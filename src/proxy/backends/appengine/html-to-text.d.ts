declare module 'html-to-text' {
  /** Elements deeper than the limit are left out. */
  export function htmlToText(html: string, options: { limits: { maxDepth: number } }): string;
}
