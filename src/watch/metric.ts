/** A value of a metric, with the labels that tell it from the others. */
export interface MetricValue {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Events counted by how large something was: `count` of them up to `bound` and above the bound before it. */
export interface Distribution {
  labels: Readonly<Record<string, string>>;
  /** In the unit of the metric; Infinity is the last. */
  buckets: readonly { bound: number; count: number }[];
  sum: number;
}

/**
 * A metric: its name without the prefix and without the suffixes of its type (`posts` is
 * appengine_mailer_posts_total), what it means, and its values.
 */
export type Metric = { name: string; help: string } & (
  | { type: 'counter' | 'gauge' | 'info'; values: readonly MetricValue[] }
  // A gaugehistogram says what is now, and its counts may become smaller.
  | { type: 'histogram' | 'gaugehistogram'; distributions: readonly Distribution[] }
);

/** How metrics are written: Prometheus' text format 0.0.4, or OpenMetrics 1.0. */
export type MetricFormat = 'prometheus' | 'openmetrics';

/** The media types of the formats. */
export const metricTypes: Record<MetricFormat, string> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** The format that a client wants, by its Accept header. */
export function metricFormatFor(accept: string | undefined): MetricFormat {
  return accept?.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus';
}

/** Writes metrics in a format. A metric without values is left out. */
export function metricsText(metrics: readonly Metric[], format: MetricFormat): string {
  if (format === 'prometheus') return asText(metrics.flatMap(prometheusLines));
  const named = new Set<string>();
  const lines = metrics.flatMap((metric) => {
    // A family has one name and one type: a counter beside a gauge of the same name is a family without a type.
    const isTaken = named.has(metric.name);
    named.add(metric.name);
    return isTaken
      ? family(seriesName(metric), 'unknown', metric)
      : family(`${PREFIX}${metric.name}`, metric.type, metric);
  });
  return asText([...lines, '# EOF']);
}

function asText(lines: readonly string[]): string {
  return lines.map((each) => `${each}\n`).join('');
}

/** Prometheus' format has no type for information, and one for all histograms. */
function prometheusLines(metric: Metric): string[] {
  const { type } = metric;
  if (type === 'info') return family(seriesName(metric), 'gauge', metric);
  if (type === 'gaugehistogram') return family(seriesName(metric), 'histogram', metric);
  return family(seriesName(metric), type, metric);
}

/** The name of the series of a metric; a histogram has _bucket, _sum and _count behind it. */
export function seriesName({ name, type }: Pick<Metric, 'name' | 'type'>): string {
  const suffix = { counter: '_total', info: '_info' }[type as string] ?? '';
  return `${PREFIX}${name}${suffix}`;
}

function family(name: string, type: string, metric: Metric): string[] {
  const series = seriesName(metric);
  // OpenMetrics has other names for what may become smaller.
  const g = type === 'gaugehistogram' ? 'g' : '';
  const lines =
    'distributions' in metric
      ? metric.distributions.flatMap((each) => distributionLines(series, each, g))
      : metric.values.map(({ labels, value }) => line(series, labels, value));
  if (lines.length === 0) return [];
  return [`# HELP ${name} ${metric.help}`, `# TYPE ${name} ${type}`, ...lines];
}

function distributionLines(
  series: string,
  { labels, buckets, sum }: Distribution,
  g: '' | 'g',
): string[] {
  let total = 0;
  const lines = buckets.map(({ bound, count }) => {
    total += count;
    const le = bound === Infinity ? '+Inf' : `${bound}${Number.isInteger(bound) ? '.0' : ''}`;
    return line(`${series}_bucket`, { ...labels, le }, total);
  });
  return [
    ...lines,
    line(`${series}_${g}sum`, labels, sum),
    line(`${series}_${g}count`, labels, total),
  ];
}

function line(series: string, labels: Readonly<Record<string, string>>, value: number): string {
  const list = Object.entries(labels).map(([name, text]) => `${name}="${escaped(text)}"`);
  return `${series}${list.length > 0 ? `{${list.join()}}` : ''} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

const PREFIX = 'appengine_mailer_';
