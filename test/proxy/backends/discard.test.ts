import { discardBackend } from '../../../src/proxy/backends/discard.ts';
import { conformance } from '../../support/conformance.ts';

conformance('discard', [], () =>
  Promise.resolve({ backend: discardBackend, options: ['--backend', 'discard'] }),
);
