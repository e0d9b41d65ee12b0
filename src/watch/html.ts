import { createHash } from 'node:crypto';
import { printable } from '../mail/printable.ts';

/** HTML that is safe as it is: made by `markup`, which escapes every text that is put into it. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | number | Html | readonly Html[] | undefined;

/** A template of HTML. Texts are escaped, and characters that cannot be seen are made visible, as in a terminal. */
export function markup(pieces: TemplateStringsArray, ...parts: Part[]): Html {
  const texts = parts.map((part) => {
    if (part === undefined) return '';
    if (part instanceof Html) return part.text;
    if (typeof part === 'object') return part.map(({ text }) => text).join('');
    return escaped(printable(String(part)));
  });
  return new Html(String.raw({ raw: pieces }, ...texts));
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
}

/** A whole document, with the headers that let it load nothing and run nothing but its own style and script. */
export function htmlDocument(
  title: string,
  body: Html,
  script?: string,
): { text: string; policy: string } {
  const scripts = script === undefined ? undefined : new Html(`<script>${script}</script>`);
  const { text } = markup`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <style>${new Html(STYLE)}</style>
        ${script === undefined ? undefined : new Html('<noscript><meta http-equiv="refresh" content="30"></noscript>')}
      </head>
      <body>
        ${body} ${scripts}
      </body>
    </html> `;
  const policy = [
    "default-src 'none'",
    `style-src '${hashOf(STYLE)}'`,
    ...(script === undefined ? [] : [`script-src '${hashOf(script)}'`, "connect-src 'self'"]),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return { text, policy };
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

/** One kind of bars in a plot. */
export interface Bars {
  name: string;
  values: readonly number[];
}

/**
 * A plot of bars from a time to another, as many a slot as there are kinds, each with a class of its own (bars0, bars1). What
 * it shows is said in its label too, for those who do not see it.
 */
export function barPlot(
  label: string,
  [from, to]: readonly [string, string],
  kinds: readonly Bars[],
): Html {
  const slots = kinds[0]?.values.length ?? 0;
  const most = Math.max(1, ...kinds.flatMap(({ values }) => values));
  const width = (WIDTH - LEFT) / Math.max(1, slots);
  const bars = kinds.flatMap(({ values }, kind) =>
    values.flatMap((value, at) => {
      if (value === 0) return [];
      const height = Math.max(1, (value / most) * HEIGHT);
      const each = width / kinds.length;
      const x = LEFT + at * width + kind * each;
      const y = (TOP + HEIGHT - height).toFixed(1);
      const across = Math.max(0.8, each - 0.4).toFixed(1);
      return [
        markup`<rect class="bars${kind}" x="${x.toFixed(1)}" y="${y}" width="${across}" height="${height.toFixed(1)}" />`,
      ];
    }),
  );
  return markup`<svg role="img" aria-label="${label}" viewBox="0 0 ${WIDTH} ${TOP + HEIGHT + BELOW}">
    <text x="${LEFT - 6}" y="${TOP + 8}" text-anchor="end">${shortNumber(most)}</text>
    <text x="${LEFT - 6}" y="${TOP + HEIGHT}" text-anchor="end">0</text>
    <text x="${LEFT}" y="${TOP + HEIGHT + BELOW - 6}">${from}</text>
    <text x="${WIDTH - 4}" y="${TOP + HEIGHT + BELOW - 6}" text-anchor="end">${to}</text>
    <line x1="${LEFT}" x2="${WIDTH}" y1="${TOP + HEIGHT + 0.5}" y2="${TOP + HEIGHT + 0.5}" />
    ${bars}
  </svg>`;
}

/** What a kind of bars is called, with a mark of its colour. */
export function keyOf(kind: number, name: string): Html {
  return markup`<span class="key${kind}">${name}</span>`;
}

/** A number in few characters: 9999, 12.3k, 4.5M. */
export function shortNumber(value: number): string {
  if (value < 10_000) return String(Math.round(value));
  return value < 1e6 ? `${(value / 1000).toFixed(1)}k` : `${(value / 1e6).toFixed(1)}M`;
}

/** A table with a caption, the names of its columns, and rows; the first cell of a row names it. */
export function table(
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly Part[])[],
): Html {
  const head = heads.map((each) => markup`<th scope="col">${each}</th>`);
  const lines = rows.map(([first, ...cells]) => {
    const rest = cells.map((cell) => markup`<td>${cell}</td>`);
    return markup`<tr>
      <th scope="row">${first}</th>
      ${rest}
    </tr> `;
  });
  const none = markup`<tr>
    <td colspan="${heads.length}">none</td>
  </tr>`;
  return markup`<div class="wide">
    <table>
      <caption>
        ${caption}
      </caption>
      ${
        heads.length > 0
          ? markup`<thead>
              <tr>
                ${head}
              </tr>
            </thead>`
          : undefined
      }
      <tbody>
        ${lines.length > 0 ? lines : none}
      </tbody>
    </table>
  </div>`;
}

const [WIDTH, HEIGHT, TOP, LEFT, BELOW] = [640, 190, 12, 58, 28];

const STYLE = `
:root{--ink:#1b1f24;--dim:#57606a;--paper:#fff;--card:#f4f6f8;--line:#c9d1d9;--a:#2f6fb0;--b:#b4530a;--bad:#b3261e;--good:#1a7f37}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9aa4af;--paper:#0f1318;--card:#1a2027;--line:#39424c;--a:#6cb0f2;--b:#f0a35e;--bad:#ff8a80;--good:#5fd07d}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:62rem;background:var(--paper);color:var(--ink);font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.4rem;margin:.2rem 0}
h2{font-size:1.1rem;margin:1.4rem 0 .4rem}
p{margin:.3rem 0}
.dim,caption{color:var(--dim)}
dl{display:grid;grid-auto-flow:dense;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;margin:.8rem 0}
dl div{background:var(--card);border-radius:.4rem;padding:.5rem .7rem}
dl .long{grid-column:1/-1}
dt{color:var(--dim);font-size:.85rem}
dd{margin:0;font-size:1.15rem;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.bad{color:var(--bad);font-weight:600}
.good{color:var(--good)}
section.plot{display:grid;grid-template-columns:minmax(0,2fr) minmax(17rem,1fr);gap:1rem;align-items:start}
section.plot h2{grid-column:1/-1;margin-bottom:0}
svg{width:100%;height:auto;background:var(--card);border-radius:.4rem}
svg text{fill:var(--dim);font-size:14px}
svg line{stroke:var(--line)}
.bars0{fill:var(--a)}
.bars1{fill:var(--b)}
.key0::before,.key1::before{content:"\\25A0  ";color:var(--a)}
.key1::before{color:var(--b)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;margin:.4rem 0}
caption{text-align:left;font-size:.9rem;padding-top:.4rem}
main>.wide{margin-top:1.4rem}
th,td{padding:.25rem .7rem .25rem 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere;min-width:9rem}
thead th{color:var(--dim);font-weight:normal}
tbody th{font-weight:normal}
@media(max-width:40rem){section.plot{grid-template-columns:minmax(0,1fr)}svg text{font-size:22px}}
button{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.25rem .8rem}
button:focus-visible{outline:3px solid var(--a);outline-offset:2px}
`;
