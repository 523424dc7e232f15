import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import type { ClusterTrustBundle } from '../../../src/model/certificates.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-trust-bundles';
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

describe('certificates of the cluster in pods', () => {
  let node: HarnessNode;
  let pods: NodePods;

  beforeAll(async () => {
    node = await startNode(NAME, {
      deckhand: { args: ['--feature-gates=ClusterTrustBundle=true,ClusterTrustBundleProjection=true'] },
    });
    pods = new NodePods(node);
  });
  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('are there once their bundle is, follow it, and are left empty where they may be missing', async () => {
    const kubeconfig = parse(readFileSync(node.deckhand.kubeconfig, 'utf8')) as {
      clusters: { cluster: Record<string, string> }[];
    };
    const ca = Buffer.from(kubeconfig.clusters[0]?.cluster['certificate-authority-data'] ?? '', 'base64').toString();
    const signerName = 'example.com/mesh';
    await pods.create(
      podOf('trusts', sh(STAY, { volumeMounts: [{ name: 'certs', mountPath: '/certs' }] }), {
        volumes: [
          {
            name: 'certs',
            projected: {
              sources: [
                { clusterTrustBundle: { signerName, labelSelector: {}, path: 'mesh.pem' } },
                { clusterTrustBundle: { name: 'nobody', optional: true, path: 'none.pem' } },
              ],
            },
          },
        ],
      }),
    );
    const { message } = await pods.untilEvent('trusts', 'FailedMount');
    expect(message).toContain('combination of signerName and labelSelector matched zero ClusterTrustBundles');
    await node.deckhand.api.create<ClusterTrustBundle>(resources.clustertrustbundles, {
      metadata: { name: 'example.com:mesh:one' },
      spec: { signerName, trustBundle: `from the mesh\n${ca}` },
    });
    const pod = await pods.ready('trusts');
    const volume = `${node.run.paths.libDir}/kubelet/pods/${pod.metadata.uid}/volumes/kubernetes.io~projected/certs`;
    expect(readFileSync(`${volume}/mesh.pem`, 'utf8')).toBe(ca);
    expect(readFileSync(`${volume}/none.pem`, 'utf8')).toBe('');
    expect(await pods.file(pod, '/certs/mesh.pem')).toBe(ca);
    await node.deckhand.api.create<ClusterTrustBundle>(resources.clustertrustbundles, {
      metadata: { name: 'nobody' },
      spec: { trustBundle: ca },
    });
    await waitFor('the second file to have it', () => readFileSync(`${volume}/none.pem`, 'utf8') === ca);
    await pods.delete('trusts');
    await pods.gone('trusts');
    expect(existsSync(volume)).toBe(false);
  });
});
