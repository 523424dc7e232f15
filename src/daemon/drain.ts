import { join, resolve } from 'node:path';
import type { Answer } from '../api/plain-server.ts';
import { HttpApiClient } from '../cluster/api-client.ts';
import { NodeDrain, type NodeDrainDeps } from '../cluster/drain/node-drain.ts';
import { loadKubeconfig } from '../cluster/kubeconfig.ts';
import type { Config } from '../config/config.ts';
import { SystemClock } from '../kit/clock.ts';
import { CodedError, messageOf } from '../kit/errors.ts';

/** Which node, and by which API. What is left out the running daemon is asked for, on its metrics port. */
export interface NodePlace {
  readonly kubeconfig: string | undefined;
  readonly nodeName: string | undefined;
  /** The running daemon's metricsBindAddress. */
  readonly metricsAddress: string;
}

interface Whereabouts {
  readonly nodeName: string;
  readonly kubeconfig: string;
}

/**
 * A PodDisruptionBudget that is being worked out asks for 10 s by Retry-After; the client gives such an answer back at
 * once when a request may take no longer than that.
 */
const REQUEST_MS = 10_000;

/** What the daemon says of itself to commands on its machine: they need not be told its flags again. */
export function whereTheApiIs({ nodeName, kubeconfig, embeddedAPI }: Config): Answer {
  const said: Whereabouts = {
    nodeName,
    kubeconfig: resolve(kubeconfig ?? join(embeddedAPI.dataDir, 'kubeconfig')),
  };
  return { status: 200, type: 'application/json', body: `${JSON.stringify(said)}\n` };
}

export async function withNode<T>(
  place: NodePlace,
  { say, warn, ask }: Pick<NodeDrainDeps, 'say' | 'warn'> & { readonly ask: (path: string) => Promise<string> },
  run: (node: NodeDrain) => Promise<T>,
): Promise<T> {
  const { nodeName, kubeconfig } = await whereabouts(place, ask);
  const clock = new SystemClock();
  const connection = await loadKubeconfig(kubeconfig);
  const api = new HttpApiClient(
    { connection, requestTimeoutMs: REQUEST_MS, userAgent: 'deckhand-drain', fieldManager: 'deckhand-drain' },
    { clock },
  );
  try {
    return await run(new NodeDrain({ nodeName }, { api, clock, say, warn }));
  } finally {
    api.close();
  }
}

async function whereabouts(
  { nodeName, kubeconfig, metricsAddress }: NodePlace,
  ask: (path: string) => Promise<string>,
): Promise<Whereabouts> {
  if (nodeName !== undefined && kubeconfig !== undefined) return { nodeName, kubeconfig };
  let said: Partial<Whereabouts>;
  try {
    said = JSON.parse(await ask('/node')) as Partial<Whereabouts>;
  } catch (error) {
    throw new CodedError(
      'Unavailable',
      `${messageOf(error)}; otherwise give --kubeconfig and --hostname-override`,
      {},
      error,
    );
  }
  const found = { nodeName: nodeName ?? said.nodeName, kubeconfig: kubeconfig ?? said.kubeconfig };
  if (found.nodeName === undefined || found.kubeconfig === undefined) {
    throw new CodedError(
      'Unavailable',
      `what answers at ${metricsAddress} is not deckhand; give --kubeconfig and --hostname-override`,
    );
  }
  return { nodeName: found.nodeName, kubeconfig: found.kubeconfig };
}
