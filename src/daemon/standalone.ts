import { HttpApiClient } from '../cluster/api-client.ts';
import type { CertificateSource } from '../cluster/credentials.ts';
import type { ApiConnection } from '../cluster/kubeconfig.ts';
import { loadKubeconfig } from '../cluster/kubeconfig.ts';
import type { Config } from '../config/config.ts';
import { CodedError } from '../kit/errors.ts';
import type { Node } from '../model/node.ts';
import { ObjectAdmission } from '../standalone/admission.ts';
import { Controllers } from '../standalone/controllers/controllers.ts';
import { HttpsNodeProxy } from '../standalone/http/node-proxy.ts';
import { ManifestApiClient } from '../standalone/manifests/manifest-api-client.ts';
import { ManifestsFollower } from '../standalone/manifests/manifests-follower.ts';
import type { MeasureUse } from '../standalone/metrics/metrics-api.ts';
import { SchemaTree } from '../standalone/schema/schema-tree.ts';
import { EmbeddedApi } from '../standalone/server.ts';
import type { Foundation } from './foundation.ts';

/** kube-apiserver's default --service-node-port-range. */
const NODE_PORTS = { from: 30_000, to: 32_767 };

const CONNECT_MS = 10_000;

export interface Standalone {
  readonly connection: ApiConnection;
  /** PEM: who shows a certificate of this authority may call the node's API. */
  readonly authority: string;
  /** What this node's API shows: whoever else answers in its place is told nothing. */
  expect(source: Pick<CertificateSource, 'current'>): void;
  /** Applies the folder of manifests, if there is one, through the API as any client would. */
  followManifests(): void;
}

/** Starts the embedded API, which shows what `measure` finds; the daemon then talks to it over loopback TLS, as it would to any other. */
export async function startStandalone(foundation: Foundation, measure: MeasureUse): Promise<Standalone> {
  const { config, clock, log, closers } = foundation;
  const { dataDir, port, serviceCIDR, manifests } = config.embeddedAPI;
  const logger = log.child({ part: 'embedded API' });
  const schemas = new SchemaTree();
  const random = Math.random;
  let serving: Pick<CertificateSource, 'current'> | undefined;
  const server = new EmbeddedApi(
    { dataDir, port, nodeName: config.nodeName },
    {
      clock,
      log: logger,
      schemas,
      random,
      measure,
      nodeProxy: (client) =>
        new HttpsNodeProxy(
          {
            client,
            connectTimeoutMs: CONNECT_MS,
            placeOf: (node) => ownPlace(config, node),
            certificateOf: (node) => {
              if (node.metadata.name !== config.nodeName) return undefined;
              const shown = serving?.current();
              if (shown === undefined) throw new CodedError('Unavailable', 'the API of this node does not serve yet');
              return shown.cert;
            },
          },
          { clock },
        ),
      rules: (store, rootCa, authority) => {
        const admission = new ObjectAdmission(
          {
            serviceCidrs: serviceCIDR,
            nodePortRange: NODE_PORTS,
            nodeName: config.nodeName,
            // Pods cannot reach an API that listens on loopback: a token for it would be of no use to them.
            mountServiceAccountTokens: false,
          },
          { store, schemas, clock, random },
        );
        const controllers = new Controllers({ rootCa }, { store, admission, clock, random, log: logger, authority });
        return { admission, controllers };
      },
    },
  );
  await server.start();
  closers.add('embedded API', () => server.close());
  const connection = await loadKubeconfig(server.kubeconfigPath);
  return {
    connection,
    authority: server.authority,
    expect: (source) => {
      serving = source;
    },
    followManifests: () => {
      if (manifests === undefined) return;
      const api = new HttpApiClient({ connection, qps: 0, fieldManager: 'deckhand-manifests' }, { clock });
      closers.add('manifests client', () => api.close());
      const follower = new ManifestsFollower(
        { dir: manifests },
        { api: new ManifestApiClient(api), schemas, clock, log: log.child({ part: 'manifests' }) },
      );
      closers.add('manifests', () => follower.close());
      follower.start();
    },
  };
}

/** This node's API, which need not listen on the address that its Node shows. */
function ownPlace({ nodeName, node }: Config, { metadata }: Node): { host: string; port: number } | undefined {
  if (metadata.name !== nodeName) return undefined;
  const { address, kubeletPort: port } = node;
  if (address === '0.0.0.0') return { host: '127.0.0.1', port };
  return { host: address === '::' ? '::1' : address, port };
}
