import { showDuration } from '../host/duration.ts';
import { localTime } from '../host/local-time.ts';
import { limits } from '../limits.ts';
import { rings, type RingName, type Sample } from '../sqlite/samples.ts';
import type { FigureBook } from './figure-book.ts';
import { Flow } from './flow.ts';
import { barPlot, htmlDocument, keyOf, markup, table, type Html } from './html.ts';

/** A value of the overview; `is` says whether it is good or bad, where it is either. */
export interface Fact {
  name: string;
  text: string;
  is?: 'good' | 'bad';
}

/** A figure that plots show: its name and label, and what people call it. */
export interface Plotted {
  title: string;
  figure: string;
  label: string;
}

/** What a page of status is made of. */
export interface PageContent {
  title: string;
  facts: readonly Fact[];
  figures: FigureBook;
  samples: Record<RingName, readonly Sample[]>;
  /** The present: observed time, and milliseconds since 1970. */
  now: number;
  wallNow: number;
  /** What comes in and what goes out. */
  flows: readonly [Plotted, Plotted];
  /** Further figures that are counted beside the plots. */
  counted: readonly Plotted[];
  /** The figure of times that are shown as median and 95 %, and what these are called. */
  times: { title: string; figure: string };
  tables: readonly ((flow: Record<RingName, Flow>) => Html)[];
}

/** The page of status, and its Content-Security-Policy. It loads nothing, and renews itself while nobody pauses it. */
export function statusPage(content: PageContent): { text: string; policy: string } {
  const { title, facts, figures, samples, now, wallNow } = content;
  const flowOf = (name: RingName) => new Flow(samples[name], rings[name], now, figures);
  const flow = { hour: flowOf('hour'), day: flowOf('day'), week: flowOf('week') };
  const list = facts.map(
    ({ name, text, is = '' }) =>
      markup`<div class="${text.length > LONG_FACT ? 'long' : ''}">
        <dt>${name}</dt>
        <dd class="${is}">${text}</dd>
      </div> `,
  );
  const plots = RINGS.map(([name, words, from]) => plot(content, [words, from], flow[name]));
  const body = markup`<header>
      <h1>${title}</h1>
      <p class="dim">
        <span id="at">As of ${localTime(wallNow)}.</span>
        <button type="button" id="pause" hidden aria-pressed="false">Pause</button>
      </p>
    </header>
    <main id="main">
      <dl>${list}</dl>
      ${plots} ${content.tables.map((each) => each(flow))}
    </main>`;
  return htmlDocument(title, body, SCRIPT);
}

/** A fact of more characters has a line of its own. */
const LONG_FACT = 24;

/** What each ring is called, and when it begins. */
const RINGS: readonly [RingName, string, string][] = [
  ['hour', 'Last hour', '1 h ago'],
  ['day', 'Last day', '24 h ago'],
  ['week', 'Last week', '7 d ago'],
];

function plot(
  { flows, counted, times }: PageContent,
  [words, from]: readonly [string, string],
  flow: Flow,
): Html {
  const kinds = flows.map(({ title, figure, label }) => ({
    name: title,
    values: flow.series(figure, label),
    total: flow.total(figure, label),
  }));
  const numbers = kinds.map(({ name, total }, at) => [keyOf(at, name), total] as const);
  const more = counted.map(
    ({ title, figure, label }) => [title, flow.total(figure, label)] as const,
  );
  const shares = [
    ['median', 0.5],
    ['95 %', 0.95],
  ] as const;
  const quantiles = shares.map(
    ([name, share]) =>
      [`${times.title}, ${name}`, timeText(flow.quantile(times.figure, share))] as const,
  );
  const said = kinds.map(({ name, total }) => `${total} ${name}`).join(', ');
  return markup`<section class="plot">
    <h2>${words}</h2>
    ${barPlot(`${words}: ${said}`, [from, 'now'], kinds)}
    ${table(`${words} in numbers`, [], [...numbers, ...more, ...quantiles])}
  </section> `;
}

function timeText(seconds: number | undefined): string {
  if (seconds === undefined) return '–';
  if (seconds === Infinity) return 'above 5 d';
  return seconds < 1 ? `below ${seconds * 1000} ms` : `below ${showDuration(seconds * 1000)}`;
}

/** A table of how often each label of a figure came up, the most in a week first. */
export function labelTable(caption: string, figure: string, figures: FigureBook) {
  return (flow: Record<RingName, Flow>): Html => {
    const rows = [...figures.all(figure).keys()]
      .map((label) => [label, ...RINGS.map(([name]) => flow[name].total(figure, label))] as const)
      .filter(([, ...counts]) => counts.some((count) => count > 0))
      .toSorted(([, , , one], [, , , two]) => (two ?? 0) - (one ?? 0))
      .slice(0, limits.pageRows);
    return table(caption, ['', ...RINGS.map(([, words]) => words)], rows);
  };
}

/**
 * What the browser runs: it renews what is in the page every 15 seconds, unless that is paused or out of sight. Nothing is
 * replaced that has the focus.
 */
const SCRIPT = `
(() => {
  const pause = document.getElementById('pause');
  let paused = false;
  pause.hidden = false;
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
  });
  setInterval(async () => {
    if (paused || document.hidden) return;
    try {
      const text = await (await window.fetch(location.pathname)).text();
      const next = new DOMParser().parseFromString(text, 'text/html');
      for (const id of ['at', 'main']) {
        const old = document.getElementById(id);
        const fresh = next.getElementById(id);
        if (fresh && !old.contains(document.activeElement)) old.replaceWith(fresh);
      }
    } catch {
      document.getElementById('at').textContent = 'It does not answer. This is how it was.';
    }
  }, 15000);
})();
`;
