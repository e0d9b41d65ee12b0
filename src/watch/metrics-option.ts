import type { HostPort } from '../host/net/connect-socket.ts';
import { parseHostPort } from '../host/net/host-port.ts';

/** Option of services: where metrics are served. */
export const metricsOption = {
  value: '[HOST:]PORT',
  parse: parseMetricsAt,
  otherwise: 'nowhere',
  describe:
    'Serve metrics for Prometheus and a page of status at this address; without HOST on 127.0.0.1',
} as const;

/** Reads HOST:PORT, or a port of this machine alone. Throws ValueError. */
function parseMetricsAt(text: string): HostPort {
  return parseHostPort(/^\d+$/.test(text) ? `127.0.0.1:${text}` : text, 'HOST:PORT or PORT');
}
