import { rmSync, writeFileSync } from 'node:fs';
import { fileBackend } from '../../../src/proxy/backends/file.ts';
import { conformance } from '../../support/conformance.ts';

conformance('file', ['vanish'], async (_, road) => ({
  backend: await fileBackend(road.delivered),
  options: ['--backend', 'file'],
  arrived: () => road.deliveries().map(({ recipients }) => recipients),
  vanish: () => {
    rmSync(road.delivered, { recursive: true });
    writeFileSync(road.delivered, 'in the way');
  },
}));
