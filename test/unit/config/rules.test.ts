import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { checkConfig } from '../../../src/config/load-config.ts';

const dir = mkdtempSync(join(tmpdir(), 'dhcfg-rules-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let files = 0;

async function errors(kind: string, apiVersion: string, fields: string): Promise<string[]> {
  const path = join(dir, `${files++}.yaml`);
  writeFileSync(path, `apiVersion: ${apiVersion}\nkind: ${kind}\n${fields}`);
  const { findings } = await checkConfig({ files: [path], flags: {}, hostname: () => 'n' });
  return findings.filter(({ level }) => level === 'error').map(({ text }) => text.slice(path.length));
}

// pkg/kubelet/apis/config/validation/validation.go, rule by rule: what is wrong, and the same put right.
describe('KubeletConfiguration', () => {
  test.each<[string, string | undefined, string]>([
    ['systemCgroups: /system\n', 'cgroupRoot: /\n', 'systemCgroups is /system, but cgroupRoot is not set'],
    ['healthzPort: 70000\n', undefined, 'healthzPort is 70000; expected an integer from 0 to 65535'],
    ['port: -1\n', undefined, 'port is -1; expected an integer from 1 to 65535'],
    ['eventBurst: -1\n', undefined, 'eventBurst is -1; expected an integer from 1'],
    ['eventRecordQPS: -1\n', undefined, 'eventRecordQPS is -1; expected an integer from 0'],
    ['kubeAPIQPS: -1\n', undefined, 'kubeAPIQPS is -1; expected an integer from 1'],
    ['oomScoreAdj: -1001\n', undefined, 'oomScoreAdj is -1001; expected an integer from -1000 to 1000'],
    ['podsPerCore: -1\n', undefined, 'podsPerCore is -1; expected an integer from 0'],
    ['nodeStatusMaxImages: -2\n', undefined, 'nodeStatusMaxImages is -2; expected an integer from -1'],
    ['maxParallelImagePulls: 0\n', undefined, 'maxParallelImagePulls is 0; expected an integer from 1'],
    ['containerLogMaxFiles: 1\n', undefined, 'containerLogMaxFiles is 1; expected an integer from 2'],
    ['containerLogMaxWorkers: 0\n', undefined, 'containerLogMaxWorkers is 0; expected an integer from 1'],
    [
      'containerLogMonitorInterval: 1s\n',
      undefined,
      'containerLogMonitorInterval is "1s"; expected a duration .* at least 3s',
    ],
    ['cpuCFSQuotaPeriod: 2s\n', undefined, 'cpuCFSQuotaPeriod is "2s"; expected a duration .* at most 1s'],
    ['cpuCFSQuotaPeriod: 0s\n', undefined, 'cpuCFSQuotaPeriod is "0s"'],
    [
      'imageGCHighThresholdPercent: 101\n',
      undefined,
      'imageGCHighThresholdPercent is 101; expected an integer from 0 to 100',
    ],
    [
      'imageGCLowThresholdPercent: 90\n',
      'imageGCHighThresholdPercent: 95\n',
      'imageGCLowThresholdPercent is 90; expected less than .* 85',
    ],
    [
      'imageMaximumGCAge: 1m\n',
      'imageMinimumGCAge: 30s\n',
      'imageMaximumGCAge is 1m0s; expected more than imageMinimumGCAge, which is 2m0s',
    ],
    ['iptablesDropBit: 32\n', undefined, 'iptablesDropBit is 32; expected an integer from 0 to 31'],
    ['runOnce: true\n', undefined, 'runOnce is set, but kubelet has done away'],
    [
      'topologyManagerPolicy: strict\n',
      undefined,
      'topologyManagerPolicy is "strict"; expected "none" or "best-effort"',
    ],
    ['topologyManagerScope: node\n', undefined, 'topologyManagerScope is "node"; expected "container" or "pod"'],
    ['hairpinMode: yes-please\n', undefined, 'hairpinMode is "yes-please"; expected "promiscuous-bridge"'],
    ['shutdownGracePeriod: 500ms\n', undefined, 'shutdownGracePeriod is 500ms; expected 0s, or 1s at least'],
    [
      'shutdownGracePeriodCriticalPods: 10s\n',
      'shutdownGracePeriod: 20s\n',
      'shutdownGracePeriodCriticalPods is 10s; expected no more than shutdownGracePeriod, which is 0s',
    ],
    [
      'shutdownGracePeriod: 10s\nshutdownGracePeriodByPodPriority: [{ priority: 1, shutdownGracePeriodSeconds: 1 }]\n',
      undefined,
      'shutdownGracePeriodByPodPriority is set, and shutdownGracePeriod, too',
    ],
    ['shutdownGracePeriod: 10s\n', 'featureGates: {}\n', ''],
    [
      'memorySwap: { swapBehavior: Unlimited }\n',
      undefined,
      'memorySwap.swapBehavior is "Unlimited"; expected "NoSwap" or "LimitedSwap"',
    ],
    [
      'crashLoopBackOff: { maxContainerRestartPeriod: 500ms }\n',
      undefined,
      'maxContainerRestartPeriod is "500ms"; expected a duration .* at least 1s',
    ],
    [
      'enableControllerAttachDetach: false\n',
      undefined,
      'enableControllerAttachDetach is false, but deckhand leaves attaching volumes to the cluster',
    ],
    ['cgroupsPerQOS: false\nenforceNodeAllocatable: []\n', undefined, 'cgroupsPerQOS is false, but deckhand puts'],
    [
      'enforceNodeAllocatable: [pods, pods]\n',
      undefined,
      'enforceNodeAllocatable is pods, pods; expected each name once',
    ],
    [
      'systemReservedCgroup: /s\nenforceNodeAllocatable: [system-reserved, system-reserved-compressible]\n',
      undefined,
      'enforceNodeAllocatable is .*; expected system-reserved or system-reserved-compressible, not both',
    ],
    [
      'enforceNodeAllocatable: [system-reserved]\n',
      'systemReservedCgroup: /s\n',
      'has system-reserved, but systemReservedCgroup is not set',
    ],
    [
      'preloadedImagesVerificationAllowlist: [a]\n',
      'imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages\n',
      'preloadedImagesVerificationAllowlist is set, but imagePullCredentialsVerificationPolicy is not',
    ],
    ['reservedSystemCPUs: 0-\n', undefined, 'reservedSystemCPUs is "0-"; expected a list of CPUs'],
    ['reservedSystemCPUs: 3-1\n', undefined, 'reservedSystemCPUs is "3-1"'],
    [
      'reservedSystemCPUs: "0"\nkubeReservedCgroup: /k\n',
      undefined,
      'reservedSystemCPUs is 0, but kubeReservedCgroup is /k',
    ],
    ['kubeReserved: { cpu: -1 }\n', undefined, 'kubeReserved.cpu is -1; expected 0 or more'],
    [
      'reservedMemory: [{ numaNode: 0, limits: { cpu: 1 } }]\n',
      undefined,
      'reservedMemory\\[0\\].limits.cpu is not a resource that NUMA nodes have',
    ],
    ['reservedMemory: [{ limits: { memory: 0 } }]\n', undefined, 'limits.memory is 0; expected more than 0'],
    [
      'reservedMemory: [{ limits: { memory: 1Gi } }, { limits: { memory: 1Gi } }]\n',
      undefined,
      'reservedMemory\\[1\\].limits.memory is there a second time for NUMA node 0',
    ],
    [
      'memoryManagerPolicy: Static\nreservedMemory: [{ limits: { hugepages-2Mi: 2Mi } }]\n',
      undefined,
      'memoryManagerPolicy is Static, but reservedMemory has no memory; you should specify the system reserved memory',
    ],
    [
      'cpuManagerPolicy: static\nreservedSystemCPUs: "0"\ncpuManagerPolicyOptions: { align-by-socket: "true" }\n',
      'featureGates: { CPUManagerPolicyAlphaOptions: true }\n',
      'cpuManagerPolicyOptions.align-by-socket is true, which needs the feature gate CPUManagerPolicyAlphaOptions',
    ],
    [
      'cpuManagerPolicy: static\nreservedSystemCPUs: "0"\ncpuManagerPolicyOptions: { distribute-cpus-across-numa: "true", prefer-align-cpus-by-uncorecache: "true" }\n',
      undefined,
      'distribute-cpus-across-numa is true, and prefer-align-cpus-by-uncorecache, too; expected one of them',
    ],
    [
      'cpuManagerPolicy: static\nreservedSystemCPUs: "0"\ncpuManagerPolicyOptions: { align-by-socket: "true" }\nfeatureGates: { CPUManagerPolicyAlphaOptions: true }\n',
      'topologyManagerPolicy: restricted\n',
      '',
    ],
    [
      'cpuManagerPolicy: static\nreservedSystemCPUs: "0"\ncpuManagerPolicyOptions: { align-by-socket: "true" }\nfeatureGates: { CPUManagerPolicyAlphaOptions: true }\ntopologyManagerPolicy: single-numa-node\n',
      undefined,
      'align-by-socket is true, but topologyManagerPolicy is single-numa-node; expected another policy',
    ],
    [
      'topologyManagerPolicyOptions: { prefer-closest-numa-nodes: "1" }\n',
      undefined,
      'topologyManagerPolicyOptions.prefer-closest-numa-nodes is "1"; expected true or false',
    ],
    [
      'topologyManagerPolicyOptions: { max-allowable-numa-nodes: "7" }\n',
      undefined,
      'max-allowable-numa-nodes is "7"; the minimum value should not be less than 8',
    ],
    ['topologyManagerPolicyOptions: { closest: "true" }\n', undefined, 'is no option; expected prefer-closest-numa'],
    [
      'userNamespaces: { idsPerPod: 65537 }\n',
      undefined,
      'userNamespaces.idsPerPod is 65537; expected a multiple of 65536',
    ],
    ['memoryThrottlingFactor: 0\n', undefined, 'memoryThrottlingFactor is 0; expected'],
    [
      'memoryReservationPolicy: TieredReservation\n',
      'featureGates: { MemoryQoS: true }\n',
      'memoryReservationPolicy is TieredReservation, which needs the feature gate MemoryQoS',
    ],
    [
      'qosReserved: { memory: 50% }\n',
      'featureGates: { QOSReserved: true }\n',
      'qosReserved.memory is 50%, which needs the feature gate QOSReserved',
    ],
    [
      'featureGates: { QOSReserved: true }\nqosReserved: { cpu: 50% }\n',
      undefined,
      'qosReserved.cpu is 50%, but only memory can be reserved',
    ],
    [
      'featureGates: { QOSReserved: true }\nqosReserved: { memory: 101% }\n',
      undefined,
      'qosReserved.memory is "101%"; expected a percentage, 0% to 100%',
    ],
    [
      'enableSystemLogQuery: true\nenableSystemLogHandler: false\n',
      undefined,
      'enableSystemLogQuery is true, but enableSystemLogHandler is false',
    ],
    [
      'podLogsDir: /var/log/../pods\n',
      undefined,
      'podLogsDir is "/var/log/../pods"; expected an absolute path without',
    ],
    ['podLogsDir: /var/log/pöds\n', undefined, 'podLogsDir is .*; expected ASCII only'],
    [
      'registerWithTaints: [{ key: "a b", effect: NoSchedule }]\n',
      undefined,
      'registerWithTaints\\[0\\].key is "a b": name part must consist',
    ],
    ['registerWithTaints: [{ key: a }]\n', undefined, 'registerWithTaints\\[0\\] is .*; expected key and effect'],
    [
      'registerWithTaints: [{ key: a, effect: NoExecute, timeAdded: "2026-01-01T00:00:00Z" }]\n',
      undefined,
      'timeAdded is set, but a taint',
    ],
    ['tlsCertFile: /c\n', 'tlsPrivateKeyFile: /k\n', 'tlsCertFile is set, but tlsPrivateKeyFile is not'],
    ['staticPodURL: ftp://x/\n', undefined, 'staticPodURL is "ftp://x/"; expected an http or https URL'],
    [
      'evictionSoft: { memory.available: 1Gi }\n',
      'evictionSoftGracePeriod: { memory.available: 1m }\n',
      'evictionSoft\\["memory.available"\\] is set, but evictionSoftGracePeriod has no',
    ],
    [
      'showHiddenMetricsForVersion: "1.30"\n',
      undefined,
      'showHiddenMetricsForVersion is "1.30"; expected the version before',
    ],
    [
      'logging: { format: json, vmodule: [{ filePattern: a, verbosity: 3 }] }\n',
      undefined,
      'logging.vmodule is set, but logging.format is json',
    ],
    [
      'logging: { options: { json: { splitStream: true } } }\n',
      'featureGates: { LoggingAlphaOptions: true }\n',
      'splitStream is true, which needs the feature gate LoggingAlphaOptions',
    ],
    [
      'tracing: { samplingRatePerMillion: 1000001 }\n',
      undefined,
      'samplingRatePerMillion is 1000001; expected an integer from 0 to 1000000',
    ],
    [
      'featureGates: { NodeSwap: false }\n',
      undefined,
      'featureGates.NodeSwap cannot set feature gate NodeSwap to false, feature is locked to true',
    ],
    ['defaultPodSysctls: {}\n', undefined, 'defaultPodSysctls is not a field here'],
  ])('%j', async (wrong, right, expected) => {
    const found = await errors('KubeletConfiguration', 'kubelet.config.k8s.io/v1beta1', wrong);
    if (expected === '') expect(found).toEqual([]);
    else {
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(new RegExp(`^:\\d+: KubeletConfiguration: .*${expected}`));
    }
    if (right === undefined) return;
    expect(await errors('KubeletConfiguration', 'kubelet.config.k8s.io/v1beta1', wrong + right)).toEqual([]);
  });
});

// pkg/proxy/apis/config/validation/validation.go
describe('KubeProxyConfiguration', () => {
  test.each<[string, string]>([
    ['iptables: { masqueradeBit: 32 }\n', 'iptables.masqueradeBit is 32; expected an integer from 0 to 31'],
    [
      'iptables: { syncPeriod: 1s, minSyncPeriod: 2s }\n',
      'iptables.minSyncPeriod is 2s; expected no more than iptables.syncPeriod, which is 1s',
    ],
    ['mode: userspace\n', 'mode is "userspace"; expected "iptables" or "nftables"'],
    ['configSyncPeriod: -1s\n', 'configSyncPeriod is "-1s"; expected a duration'],
    ['bindAddress: nowhere\n', 'bindAddress is "nowhere"; expected an IP address'],
    [
      'healthzBindAddress: localhost:10256\n',
      'healthzBindAddress is "localhost:10256"; expected an IP address with a port',
    ],
    ['metricsBindAddress: 127.0.0.1:0\n', 'metricsBindAddress is "127.0.0.1:0"; expected'],
    ['conntrack: { maxPerCore: -1 }\n', 'conntrack.maxPerCore is -1; expected an integer from 0'],
    ['conntrack: { tcpEstablishedTimeout: -1s }\n', 'conntrack.tcpEstablishedTimeout is "-1s"; expected'],
    ['oomScoreAdj: 1001\n', 'oomScoreAdj is 1001; expected an integer from -1000 to 1000'],
    ['detectLocalMode: Magic\n', 'detectLocalMode is "Magic"; expected "ClusterCIDR" or'],
    ['clientConnection: { burst: -1 }\n', 'clientConnection.burst is -1; expected'],
    ['nodePortAddresses: [10.0.0.0/8, nonsense]\n', 'nodePortAddresses\\[1\\] is "nonsense"; expected CIDRs'],
    ['windowsRunAsService: true\n', 'windowsRunAsService is set, but this is not Windows'],
    ['udpIdleTimeout: 1s\n', 'udpIdleTimeout is not a field here'],
  ])('%j', async (fields, expected) => {
    const found = await errors('KubeProxyConfiguration', 'kubeproxy.config.k8s.io/v1alpha1', fields);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(new RegExp(`^:3: KubeProxyConfiguration: .*${expected}`));
  });

  test.each(['10.0.0.1', '10.0.0.1:10256', '[::]:10256', 'fd00::1'])('addresses such as %s', async (address) => {
    const fields = `healthzBindAddress: "${address}"\n`;
    expect(await errors('KubeProxyConfiguration', 'kubeproxy.config.k8s.io/v1alpha1', fields)).toEqual([]);
  });
});

describe('between the kinds', () => {
  test.each<[Record<string, string>, RegExp | undefined]>([
    [
      { 'node-labels': 'node-role.kubernetes.io/worker=' },
      /--node-labels: has unknown 'kubernetes.io' or 'k8s.io' labels .*\[node-role.kubernetes.io\/worker\]/,
    ],
    [{ 'node-labels': 'x.k8s.io/a=b' }, /x\.k8s\.io\/a/],
    [
      {
        'node-labels':
          'node.kubernetes.io/pool=a,sub.kubelet.kubernetes.io/b=c,kubernetes.io/arch=x,topology.kubernetes.io/zone=z,mine=1',
      },
      undefined,
    ],
    [{ 'node-ip': '10.0.0.1,fd00::1' }, undefined],
    [{ 'node-ip': '::' }, undefined],
    [{ 'node-ip': '0.0.0.0' }, undefined],
    [{ 'node-ip': '0.0.0.0,fd00::1' }, /--node-ip: is 0\.0\.0\.0,fd00::1; expected 0\.0\.0\.0 or :: alone/],
    [{ 'node-ip': '10.0.0.1,10.0.0.2' }, /--node-ip: is .*; expected one address, or one of each IP family/],
    [{ 'node-ip': '10.0.0.300' }, /--node-ip: 0 is "10\.0\.0\.300"; expected an IP address/],
    [{ 'cloud-provider': 'aws' }, /--cloud-provider: is "aws"; expected "external"/],
    [{ 'cloud-provider': '' }, undefined],
    [{ 'exit-on-lock-contention': 'true' }, /--exit-on-lock-contention: is true, but lockFile is not set/],
    [{ 'exit-on-lock-contention': 'true', 'lock-file': '/run/lock/k' }, undefined],
    [{ 'bootstrap-kubeconfig': '/b' }, /--bootstrap-kubeconfig: is \/b, but kubeconfig is not set/],
  ])('%j', async (flags, expected) => {
    const { findings } = await checkConfig({ files: [], flags, hostname: () => 'n' });
    const found = findings.filter(({ level }) => level === 'error').map(({ text }) => text);
    if (expected === undefined) expect(found).toEqual([]);
    else {
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(expected);
    }
  });

  test('gates that the two roles disagree on', async () => {
    const path = join(dir, 'gates.yaml');
    writeFileSync(
      path,
      'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfeatureGates: { EnvFiles: true }\n---\n' +
        'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nfeatureGates: { EnvFiles: false }\n',
    );
    const { findings } = await checkConfig({ files: [path], flags: {}, hostname: () => 'n' });
    expect(findings.find(({ level }) => level === 'error')?.text).toMatch(
      /:7: KubeProxyConfiguration: featureGates.EnvFiles is false, but/,
    );
    // The flag is for both.
    const flags = { 'feature-gates': 'EnvFiles=true' };
    const { config } = await checkConfig({ files: [path], flags, hostname: () => 'n' });
    expect(config?.featureGates).toEqual({ EnvFiles: true });
  });
});
