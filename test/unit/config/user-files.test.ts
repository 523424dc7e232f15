import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type CheckedConfig, type ConfigSources, checkConfig } from '../../../src/config/load-config.ts';
import { parseArguments } from '../../../src/config/parse-arguments.ts';

const dir = mkdtempSync(join(tmpdir(), 'dhcfg-user-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
function file(text: string): string {
  const path = join(dir, `${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}

async function check(sources: Partial<ConfigSources>): Promise<CheckedConfig> {
  return await checkConfig({ files: [], flags: {}, hostname: () => 'n1', exists: () => false, ...sources });
}

// What `kubeadm init` of 1.34 to 1.36 leaves in /var/lib/kubelet/config.yaml: Go's zero values wherever it says nothing.
const KUBEADM_KUBELET = `
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous: { enabled: false }
  webhook: { cacheTTL: 0s, enabled: true }
  x509: { clientCAFile: /etc/kubernetes/pki/ca.crt }
authorization:
  mode: Webhook
  webhook: { cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s }
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging:
  flushFrequency: 0
  options: { json: { infoBufferSize: "0" }, text: { infoBufferSize: "0" } }
  verbosity: 0
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
resolvConf: /run/systemd/resolve/resolv.conf
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
`;

// The ConfigMap kube-proxy of a kubeadm cluster.
const KUBEADM_PROXY = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack: { maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, udpTimeout: 0s, udpStreamTimeout: 0s }
detectLocal: { bridgeInterface: "", interfaceNamePrefix: "" }
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: { localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s }
ipvs: { excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s }
kind: KubeProxyConfiguration
logging: { flushFrequency: 0, options: { json: { infoBufferSize: "0" }, text: { infoBufferSize: "0" } }, verbosity: 0 }
metricsBindAddress: ""
mode: ""
nftables: { masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s }
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: { enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: "" }
`;

const KIND_KUBELET = `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupRoot: /kubelet
evictionHard: { imagefs.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0% }
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
`;
const KIND_PROXY = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
conntrack: { maxPerCore: 0 }
iptables: { minSyncPeriod: 1s }
`;

describe('files of users', () => {
  test("kubeadm's mean the defaults, and warn of what a node has to know only", async () => {
    const given = file(`${KUBEADM_KUBELET}---${KUBEADM_PROXY}`);
    const { config, findings } = await check({ files: [given], flags: { kubeconfig: '/etc/kubernetes/kubelet.conf' } });
    expect(findings.map(({ level, text }) => `${level} ${text.slice(given.length)}`)).toEqual([
      expect.stringMatching(/^warning :\d+: KubeProxyConfiguration: clientConnection.kubeconfig .*--proxy-kubeconfig/),
    ]);
    expect(config).toMatchObject({
      log: { verbosity: 2, format: 'json' },
      dns: {
        clusterDNS: ['10.96.0.10'],
        clusterDomain: 'cluster.local',
        resolvConf: '/run/systemd/resolve/resolv.conf',
      },
      pods: { syncFrequencyMs: 60_000, maxCrashBackoffMs: 300_000 },
      node: { statusUpdateMs: 10_000, statusReportMs: 300_000 },
      staticPods: { path: '/etc/kubernetes/manifests', fileCheckMs: 20_000 },
      certificates: { rotateClient: true, clientCAFile: '/etc/kubernetes/pki/ca.crt' },
      cgroups: { driver: 'systemd' },
      services: { clusterCIDR: ['10.244.0.0/16'], detectLocal: { mode: 'ClusterCIDR' } },
      proxyKubeconfig: undefined,
    });
  });

  test('the kubeconfig of kube-proxy’s file is the second identity where it is there, and the flag goes before it', async () => {
    const sources = { files: [file(KUBEADM_PROXY)], exists: () => true };
    expect((await check({ ...sources, flags: { kubeconfig: '/k' } })).config?.proxyKubeconfig).toBe(
      '/var/lib/kube-proxy/kubeconfig.conf',
    );
    const flags = { kubeconfig: '/k', 'proxy-kubeconfig': '/p' };
    expect((await check({ ...sources, flags })).config?.proxyKubeconfig).toBe('/p');
    expect((await check({ ...sources, flags: {} })).config?.proxyKubeconfig).toBeUndefined();
  });

  test("kind's turn off what does not work in its containers", async () => {
    const { config, findings } = await check({ files: [file(`${KIND_KUBELET}---${KIND_PROXY}`)] });
    expect(findings.filter(({ level }) => level === 'error')).toEqual([]);
    expect(config).toMatchObject({
      cgroups: { root: '/kubelet', driver: 'cgroupfs' },
      host: { failSwapOn: false, failCgroupV1: false },
      reserved: { evictionHard: { 'nodefs.available': '0%' } },
      images: { collection: { highPercent: 100, lowPercent: 80, maxAgeMs: 0 } },
      services: { conntrack: { maxPerCore: 0, min: 131_072 }, minSyncPeriodMs: 1000 },
    });
  });

  // k3s starts its kubelet in one process with flags only.
  test('flags as k3s and kubeadm give them', async () => {
    const argv =
      '--cloud-provider=external --config-dir= --containerd=/run/k3s/containerd/containerd.sock ' +
      '--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock --hostname-override=k3s-1 ' +
      '--kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig --node-ip=10.0.0.5 --node-labels= ' +
      '--pod-infra-container-image=rancher/mirrored-pause:3.6 --read-only-port=0 --eviction-hard=imagefs.available<5%,nodefs.available<5% ' +
      '--eviction-minimum-reclaim= --fail-swap-on=false --feature-gates=CloudDualStackNodeIPs=true';
    const { config, findings } = await check(await parseArguments(argv.split(' ')));
    expect(config).toBeUndefined();
    expect(findings.filter(({ level }) => level === 'error').map(({ text }) => text)).toEqual([
      expect.stringContaining(
        '--feature-gates: CloudDualStackNodeIPs unrecognized feature gate: CloudDualStackNodeIPs',
      ),
    ]);
    const without = argv.split(' ').filter((word) => !word.startsWith('--feature-gates'));
    const good = await check({ ...(await parseArguments(without)), exists: () => false });
    expect(good.config).toMatchObject({
      nodeName: 'k3s-1',
      nodeIPs: ['10.0.0.5'],
      node: {
        externalCloudProvider: true,
        taints: [{ key: 'node.cloudprovider.kubernetes.io/uninitialized', value: 'true', effect: 'NoSchedule' }],
      },
      reserved: { evictionHard: { 'imagefs.available': '5%', 'nodefs.available': '5%' } },
      host: { failSwapOn: false },
    });
    expect(good.findings.map(({ level, text }) => `${level} ${text}`)).toEqual([
      expect.stringMatching(/^warning --containerd: is a flag of cAdvisor/),
      expect.stringMatching(/^warning --pod-infra-container-image: was removed from kubelet in 1\.35/),
    ]);
  });

  test('JSON is read as well, and YAML 1.1 booleans', async () => {
    const json = file('{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","maxPods":12}');
    const yes = file('apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailSwapOn: no\n');
    const { config } = await check({ files: [json, yes] });
    expect(config?.pods.maxPods).toBe(12);
    expect(config?.host.failSwapOn).toBe(false);
    const quoted = file('apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailSwapOn: "no"\n');
    expect((await check({ files: [quoted] })).findings[0]?.text).toMatch(/failSwapOn is "no"; expected true or false/);
  });

  test('an empty file is an error, as with kubelet', async () => {
    expect((await check({ files: [file('# nothing\n')] })).findings[0]?.text).toMatch(/is empty; expected apiVersion/);
  });
});

describe('what is in force', () => {
  const sources = (): Partial<ConfigSources> => ({
    files: [file(`${KUBEADM_KUBELET.replace('systemd\n', 'cgroupfs\n')}---${KIND_PROXY}`)],
    flags: {
      'max-pods': '33',
      'node-labels': 'a=b',
      'reserved-cpus': '0-1',
      'kube-reserved': 'cpu=1,memory=1Gi',
      v: '4',
    },
  });

  test('says the same when it is read again, without a word of warning', async () => {
    const first = await check(sources());
    const text = first
      .effective()
      .map((document) => stringify(document))
      .join('---\n');
    const again = await check({ files: [file(text)] });
    expect(again.findings).toEqual([]);
    expect({ ...again.config, host: undefined }).toEqual({ ...first.config, host: undefined });
    expect(again.effective()).toEqual(first.effective());
  });

  test('the defaults themselves are no finding, and are what an empty configuration means', async () => {
    const nothing = await check({});
    expect(nothing.findings).toEqual([]);
    const text = nothing
      .effective()
      .map((document) => stringify(document))
      .join('---\n');
    const again = await check({ files: [file(text)] });
    expect(again.findings).toEqual([]);
    expect({ ...again.config, host: undefined }).toEqual({ ...nothing.config, host: undefined });
  });

  test('holds what was computed, and no secret', async () => {
    const flags = {
      ...sources().flags,
      'manifest-url': 'https://user:geheim@example.com/pods',
      'manifest-url-header': 'Authorization:Bearer geheim',
    };
    const [kubelet, proxy, own] = (await check({ ...sources(), flags })).effective();
    expect(kubelet).toMatchObject({
      maxPods: 33,
      syncFrequency: '1m0s',
      systemReserved: { cpu: '2' },
      kubeReserved: { memory: '1Gi' },
      staticPodURLHeader: { Authorization: ['<masked>'] },
    });
    expect(proxy).toMatchObject({ conntrack: { maxPerCore: 0 }, metricsBindAddress: '127.0.0.1:10249' });
    expect(own).toMatchObject({ hostnameOverride: 'n1', log: { verbosity: 4 }, certDir: '/var/lib/kubelet/pki' });
    expect(JSON.stringify([kubelet, proxy, own])).not.toContain('geheim');
  });
});
