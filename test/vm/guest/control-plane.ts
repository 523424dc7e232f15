import { SystemClock } from '../../../src/kit/clock.ts';
import { createLogger } from '../../../src/kit/pino-logger.ts';
import { startEmbeddedApi } from '../../unit/standalone/embedded-api.ts';
import { CONTROL_PLANE, DATA } from './pair.ts';

/**
 * The API of both machines: deckhand's embedded one, by itself and not on loopback. Nothing but its unit's end ends it. Pods
 * say which node they are for.
 */
export async function controlPlane(): Promise<void> {
  const { logger } = createLogger({ verbosity: 2, format: 'json' });
  const { hostname, port } = new URL(CONTROL_PLANE);
  await startEmbeddedApi(
    { dataDir: DATA, address: hostname, port: Number(port) },
    { clock: new SystemClock(), log: logger },
  );
}
