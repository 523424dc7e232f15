import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { podOf, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-kubeadm';

// What kubeadm writes to /var/lib/kubelet: config.yaml and kubeadm-flags.env.
const CONFIG = `
apiVersion: kubelet.config.k8s.io/v1beta1
authentication: { anonymous: { enabled: false }, webhook: { cacheTTL: 0s, enabled: true } }
authorization: { mode: Webhook, webhook: { cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s } }
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging: { flushFrequency: 0, options: { json: { infoBufferSize: "0" }, text: { infoBufferSize: "0" } }, verbosity: 0 }
memorySwap: {}
nodeStatusUpdateFrequency: 0s
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
`;

describe("deckhand with kubeadm's files, drop-ins and flags", () => {
  const dir = mkdtempSync(join(tmpdir(), 'dhcfg-host-'));
  let node: HarnessNode;

  beforeAll(async () => {
    writeFileSync(join(dir, 'config.yaml'), CONFIG);
    mkdirSync(join(dir, 'd'));
    const dropIn =
      'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 17\nfailSwapOn: no\n';
    writeFileSync(join(dir, 'd/10-pods.conf'), dropIn);
    const args = [
      `--config=${join(dir, 'config.yaml')}`,
      `--config-dir=${join(dir, 'd')}`,
      '--pod-infra-container-image=registry.k8s.io/pause:3.10.1',
      '--register-with-taints=dedicated=x:PreferNoSchedule',
      `--lock-file=${join(dir, 'lock')}`,
      '-v4',
    ];
    node = await startNode(NAME, { deckhand: { args } });
  });

  afterAll(async () => {
    await node?.close();
    rmSync(dir, { recursive: true, force: true });
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const logged = (message: string): Record<string, unknown> | undefined =>
    readFileSync(node.deckhand.logFile, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{') && line.includes(message))
      .map((line) => JSON.parse(line) as Record<string, unknown>)[0];

  it('starts, runs a pod, and the Node shows what the drop-in and the flags say', async () => {
    const pods = new NodePods(node);
    await pods.create(podOf('web', web()));
    await pods.ready('web');
    const found = await node.deckhand.api.get<Node>(resources.nodes, undefined, node.deckhand.nodeName);
    expect(found.status?.capacity?.['pods']).toBe('17');
    expect(found.spec?.taints).toContainEqual({ key: 'dedicated', value: 'x', effect: 'PreferNoSchedule' });
  });

  it('warns of what it cannot do as asked, and tells once what is in force', () => {
    expect(logged('--pod-infra-container-image: was removed from kubelet in 1.35')).toBeDefined();
    const hasSystemd = existsSync('/run/systemd/system');
    expect(hasSystemd || logged('cgroupDriver is systemd, but systemd is not PID 1 here') !== undefined).toBe(true);
    const { configuration } = logged('the configuration in force') ?? {};
    expect(configuration).toMatchObject([{ kind: 'KubeletConfiguration', maxPods: 17, syncFrequency: '1m0s' }, {}, {}]);
  });

  it('sets the kernel as kubelet does, where it may', () => {
    const value = readFileSync('/proc/sys/vm/overcommit_memory', 'utf8').trim();
    expect(value === '1' || logged('cannot set a sysctl that kubelet sets for pods') !== undefined).toBe(true);
  });
});
