import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../../src/kit/clock.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { ObjectAdmission } from '../../../src/standalone/admission.ts';
import { Controllers } from '../../../src/standalone/controllers/controllers.ts';
import { Faults } from '../../../src/standalone/faults.ts';
import { SchemaTree } from '../../../src/standalone/schema/schema-tree.ts';
import { EmbeddedApi, type EmbeddedApiDeps, type EmbeddedApiOptions } from '../../../src/standalone/server.ts';

export const NODE_NAME = 'node-1';

/** An embedded API with the real rules and controllers, on a free port and in a folder of its own. */
export async function startEmbeddedApi(
  options: Partial<EmbeddedApiOptions> & { readonly signingLifeMs?: number } = {},
  deps: Partial<EmbeddedApiDeps> = {},
): Promise<{ readonly api: EmbeddedApi; readonly faults: Faults; readonly dataDir: string; close(): Promise<void> }> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'dhapi-')));
  const faults = deps.faults ?? new Faults();
  const clock: Clock = deps.clock ?? new SystemClock();
  const schemas = new SchemaTree();
  const api = new EmbeddedApi(
    { dataDir, port: 0, nodeName: NODE_NAME, ...options },
    {
      clock,
      log: silent,
      schemas,
      faults,
      rules: (store, rootCa, authority) => {
        const admission = new ObjectAdmission(
          {
            serviceCidrs: ['10.96.0.0/16'],
            nodePortRange: { from: 30000, to: 32767 },
            nodeName: NODE_NAME,
            mountServiceAccountTokens: true,
          },
          { store, schemas, clock, random: Math.random },
        );
        const controllers = new Controllers(
          {
            rootCa,
            ...(options.signingLifeMs === undefined ? {} : { certificates: { lifeMs: options.signingLifeMs } }),
          },
          { store, admission, clock, random: Math.random, log: silent, authority },
        );
        return { admission, controllers };
      },
      ...deps,
    },
  );
  await api.start();
  return {
    api,
    faults,
    dataDir,
    close: async () => {
      await api.close();
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}
