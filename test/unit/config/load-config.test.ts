import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Config } from '../../../src/config/config.ts';
import { formatDuration, parseDuration } from '../../../src/config/duration.ts';
import { type Flag, flags } from '../../../src/config/flags.ts';
import { kubeProxyFields } from '../../../src/config/kube-proxy-fields.ts';
import { kubeletFields } from '../../../src/config/kubelet-fields.ts';
import { checkConfig, loadConfig } from '../../../src/config/load-config.ts';
import { CodedError } from '../../../src/kit/errors.ts';

const dir = mkdtempSync(join(tmpdir(), 'dhclu-config-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
function file(text: string): string {
  const path = join(dir, `${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}

const kubelet = (text: string): string =>
  file(`apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n${text}`);
const proxy = (text: string): string =>
  file(`apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n${text}`);
const own = (text: string): string => file(`apiVersion: deckhand.dev/v1alpha1\nkind: DeckhandConfiguration\n${text}`);
const hostname = (): string => 'Host-1\n';

async function load(paths: string[], given: Record<string, string | true> = {}): Promise<Config> {
  return (await loadConfig({ files: paths, flags: given, hostname })).config;
}

async function mistakes(paths: string[], given: Record<string, string | true> = {}): Promise<string[]> {
  try {
    await loadConfig({ files: paths, flags: given, hostname });
  } catch (error) {
    if (error instanceof CodedError && error.code === 'InvalidConfig') return error.message.split('\n');
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  test('in nftables mode node ports are at the primary addresses unless a field says otherwise', async () => {
    const addresses = async (text: string): Promise<readonly string[]> =>
      (await load([proxy(text)])).services.nodePortAddresses;
    expect(await addresses('mode: nftables\n')).toEqual(['primary']);
    expect(await addresses('mode: iptables\n')).toEqual([]);
    expect(await addresses('mode: nftables\nnodePortAddresses: [10.0.0.0/8]\n')).toEqual(['10.0.0.0/8']);
  });

  test('defaults are kubelet’s and kube-proxy’s, but for a shorter minSyncPeriod', async () => {
    const config = await load([]);
    expect(config).toMatchObject({
      nodeName: 'host-1',
      rootDir: '/var/lib/kubelet',
      podLogsDir: '/var/log/pods',
      kubeconfig: undefined,
      healthz: { address: '127.0.0.1', port: 10248 },
      api: { qps: 50, burst: 100 },
      runtime: { endpoint: 'unix:///run/containerd/containerd.sock', requestTimeoutMs: 120_000 },
      pods: { maxPods: 110, podPidsLimit: -1, syncFrequencyMs: 60_000, maxCrashBackoffMs: 300_000 },
      images: { maxParallelPulls: 1, pullQPS: 5, pullBurst: 10 },
      cgroups: { root: '/', driver: 'cgroupfs', perQOS: true, enforceNodeAllocatable: ['pods'] },
      reserved: { evictionHard: { 'memory.available': '100Mi' } },
      node: { statusUpdateMs: 10_000, statusReportMs: 300_000, leaseSeconds: 40, maxImages: 50, kubeletPort: 10_250 },
      services: { mode: 'auto', masqueradeBit: 14, localhostNodePorts: true, minSyncPeriodMs: 50 },
    });
  });

  test('is frozen through and through', async () => {
    const config = await load([]);
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.services.detectLocal)).toBe(true);
    expect(Object.isFrozen(config.reserved.evictionHard)).toBe(true);
  });

  test('three kinds in one file; flags go over files, later files over earlier ones', async () => {
    const all = file(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 20
clusterDNS: [10.96.0.10]
kubeReserved: { cpu: 100m, memory: 64Mi }
crashLoopBackOff: { maxContainerRestartPeriod: 30s }
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.0.0.0/8,fd00::/48
iptables: { minSyncPeriod: 250ms, masqueradeAll: true }
---
apiVersion: deckhand.dev/v1alpha1
kind: DeckhandConfiguration
nodeLabels: { a: b }
embeddedAPI: { port: 7000, serviceCIDR: 10.97.0.0/20 }
`);
    const over = kubelet('maxPods: 30\nsyncFrequency: 10s\n');
    const config = await load([all, over], {
      'max-pods': '40',
      'node-labels': 'c=d, e=',
      'register-with-taints': 'dedicated=x:NoSchedule,k:NoExecute',
      'node-ip': '192.168.0.1,fd00::0:1',
      'masquerade-all': 'false',
      'container-runtime-endpoint': '/run/other.sock',
    });
    expect(config.pods).toMatchObject({ maxPods: 40, syncFrequencyMs: 10_000, maxCrashBackoffMs: 30_000 });
    expect(config.dns.clusterDNS).toEqual(['10.96.0.10']);
    expect(config.reserved.kube).toEqual({ cpu: '100m', memory: '64Mi' });
    expect(config.services.clusterCIDR).toEqual(['10.0.0.0/8', 'fd00::/48']);
    expect(config.services).toMatchObject({ minSyncPeriodMs: 250, masqueradeAll: false });
    expect(config.node.labels).toEqual({ a: 'b', c: 'd', e: '' });
    expect(config.node.taints).toEqual([
      { key: 'dedicated', value: 'x', effect: 'NoSchedule' },
      { key: 'k', effect: 'NoExecute' },
    ]);
    expect(config.nodeIPs).toEqual(['192.168.0.1', 'fd00::1']);
    expect(config.embeddedAPI).toMatchObject({ port: 7000, serviceCIDR: ['10.97.0.0/20'] });
    expect(config.runtime).toMatchObject({
      endpoint: 'unix:///run/other.sock',
      imageEndpoint: 'unix:///run/other.sock',
    });
  });

  test('an unset report frequency follows an explicit update frequency', async () => {
    expect((await load([kubelet('nodeStatusUpdateFrequency: 20s\n')])).node).toMatchObject({
      statusUpdateMs: 20_000,
      statusReportMs: 20_000,
    });
  });

  test('setting one eviction signal drops the other defaults, unless they are merged', async () => {
    const signals = 'evictionHard: { memory.available: 5% }\n';
    expect((await load([kubelet(signals)])).reserved.evictionHard).toEqual({ 'memory.available': '5%' });
    const merged = await load([kubelet(`${signals}mergeDefaultEvictionSettings: true\n`)]);
    expect(merged.reserved.evictionHard).toMatchObject({ 'memory.available': '5%', 'nodefs.available': '10%' });
  });

  test.each([
    ['serializeImagePulls: false\n', undefined],
    ['serializeImagePulls: false\nmaxParallelImagePulls: 4\n', 4],
    ['maxParallelImagePulls: 4\n', 4],
    ['serializeImagePulls: true\n', 1],
  ])('parallel pulls: %j', async (text, expected) => {
    expect((await load([kubelet(text)])).images.maxParallelPulls).toBe(expected);
  });

  test.each<[string, (text: string) => string, string, RegExp]>([
    [
      'a wrong type',
      kubelet,
      'maxPods: many\n',
      /:3: KubeletConfiguration: maxPods is "many"; expected an integer from 1/,
    ],
    [
      'a misspelt field',
      kubelet,
      'address: 0.0.0.0\nmaxpods: 3\n',
      /:4: .*maxpods is not a field here; did you mean maxPods\?/,
    ],
    [
      'a misspelt inner field',
      proxy,
      'iptables:\n  masqueradeAl: true\n',
      /:4: .*iptables\.masqueradeAl .*masqueradeAll/,
    ],
    ['a bad duration', kubelet, 'syncFrequency: 10\n', /syncFrequency is 10; expected a duration such as 10s/],
    ['a duration too long', kubelet, 'crashLoopBackOff: { maxContainerRestartPeriod: 10m }\n', /at most 300s/],
    [
      'a bad address in a list',
      kubelet,
      'clusterDNS:\n- 10.0.0.1\n- 10.0.0.300\n',
      /:5: .*clusterDNS\[1\] is "10.0.0.300"; expected an IP/,
    ],
    [
      'a bad quantity',
      kubelet,
      'kubeReserved:\n  memory: lots\n',
      /:4: .*kubeReserved\.memory is "lots"; expected a quantity/,
    ],
    [
      'a resource that cannot be reserved',
      kubelet,
      'systemReserved: { gpu: 1 }\n',
      /systemReserved\.gpu is not a resource/,
    ],
    [
      'an unknown signal',
      kubelet,
      'evictionHard: { memory.free: 1Mi }\n',
      /evictionHard\["memory\.free"\] is not an eviction signal/,
    ],
    [
      'an unknown choice',
      kubelet,
      'cgroupDriver: cgroups\n',
      /cgroupDriver is "cgroups"; expected "cgroupfs" or "systemd"/,
    ],
    ['a mode of Windows', proxy, 'mode: kernelspace\n', /mode is "kernelspace"; expected "iptables"/],
    ['no scheduler', proxy, 'mode: ipvs\nipvs: { scheduler: "r r" }\n', /ipvs.scheduler is "r r"; expected the name/],
    [
      'no CIDR to leave out',
      proxy,
      'mode: ipvs\nipvs: { excludeCIDRs: [10.0.0.1] }\n',
      /excludeCIDRs\[0\] is "10.0.0.1"; expected a CIDR/,
    ],
    [
      'ipvs too often',
      proxy,
      'mode: ipvs\nipvs: { syncPeriod: 1s, minSyncPeriod: 2s }\n',
      /ipvs.minSyncPeriod is 2s; expected no more/,
    ],
    ['two CIDRs of one family', proxy, 'clusterCIDR: 10.0.0.0/8,11.0.0.0/8\n', /clusterCIDR .*one per IP family/],
    [
      'an interface that is missing',
      proxy,
      'detectLocalMode: BridgeInterface\n',
      /detectLocal\.bridgeInterface is missing/,
    ],
    ['primary among others', proxy, 'nodePortAddresses: [primary, 10.0.0.0/8]\n', /expected CIDRs, or primary alone/],
    ['a bad label', own, 'nodeLabels: { a: "b c" }\n', /nodeLabels\.a a valid label must/],
    ['a relative path', own, 'rootDir: var\n', /rootDir is "var"; expected an absolute path/],
    ['a list for a mapping', own, 'embeddedAPI: []\n', /embeddedAPI is \[\]; expected a mapping/],
    [
      'a huge service range',
      own,
      'embeddedAPI: { serviceCIDR: 10.0.0.0/4 }\n',
      /serviceCIDR is 10.0.0.0\/4; expected a prefix/,
    ],
    [
      'cgroups that contradict',
      kubelet,
      'cgroupsPerQOS: false\nenforceNodeAllocatable: [pods]\n',
      /cgroupsPerQOS is false/,
    ],
    [
      'a reserved cgroup without a name',
      kubelet,
      'enforceNodeAllocatable: [kube-reserved]\n',
      /kubeReservedCgroup is not set/,
    ],
    ['none among others', kubelet, 'enforceNodeAllocatable: [none, pods]\n', /expected none alone/],
    [
      'pulls that contradict',
      kubelet,
      'serializeImagePulls: true\nmaxParallelImagePulls: 3\n',
      /maxParallelImagePulls is 3/,
    ],
    ['manifests for a real API', own, 'kubeconfig: /k\nembeddedAPI: { manifests: /m }\n', /only with the embedded API/],
    [
      'an unknown kind',
      file,
      'apiVersion: v1\nkind: KubeletConfig\n',
      /:2: kind is "KubeletConfig"; expected KubeletConfiguration or/,
    ],
    [
      'another version',
      file,
      'apiVersion: v1\nkind: KubeletConfiguration\n',
      /apiVersion is "v1"; expected kubelet\.config/,
    ],
    ['no YAML', file, 'a: [b\n', /is not YAML/],
    ['a key twice', kubelet, 'maxPods: 1\nmaxPods: 2\n', /:4: KubeletConfiguration: maxPods is there a second time/],
    ['a document of text', file, 'hello\n', /is not a mapping/],
    [
      'a kind twice',
      (text) => kubelet(`${text}---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n`),
      '',
      /:5: .*second time/,
    ],
  ])('names %s', async (_name, write, text, expected) => {
    const path = write(text);
    const found = await mistakes([path]);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(expected);
  });

  test('tells all mistakes of all sources at once', async () => {
    const found = await mistakes([kubelet('maxPods: x\nport: y\n'), proxy('mode: z\n'), join(dir, 'absent.yaml')], {
      'max-pods': 'lots',
      'node-labels': 'a b=c',
      'node-ip': '1.2.3.4,2.3.4.5',
      'register-with-taints': 'a:Sometimes',
    });
    expect(found).toHaveLength(9);
    expect(found.join('\n')).toContain('--max-pods: is "lots"; expected an integer');
    expect(found.join('\n')).toContain('--node-labels: a b ');
    expect(found.join('\n')).toContain('absent.yaml: cannot be read');
    expect(found.join('\n')).toMatch(/--register-with-taints: .*effect is "Sometimes"/);
  });

  test('a bad machine name is refused, a given one goes before it', async () => {
    const given = { files: [], hostname: () => 'under_score' };
    await expect(loadConfig({ ...given, flags: {} })).rejects.toThrow(/under_score/);
    expect((await loadConfig({ ...given, flags: { 'hostname-override': 'N1' } })).config.nodeName).toBe('n1');
  });

  test('known fields that nothing follows yet are warnings, their zero values are not', async () => {
    const path = kubelet(`
kernelMemcgNotification: true
rotateCertificates: false
shutdownGracePeriod: 0s
memorySwap: {}
evictionHard: { imagefs.available: 5%, containerfs.available: 5% }
`);
    const { config, findings } = await checkConfig({ files: [path], flags: {}, hostname });
    expect(config).toBeDefined();
    expect(findings.map((finding) => finding.level)).toEqual(['warning', 'warning']);
    expect(findings[0]?.text).toMatch(/:4: .*kernelMemcgNotification is true: it is known, but not yet honoured/);
    expect(findings[1]?.text).toContain('evictionHard["containerfs.available"] is ignored');
  });

  // What kubeadm 1.32 writes for kube-proxy: every field, mostly at its zero value.
  test('a configuration full of zero values means the defaults', async () => {
    const path = proxy(`
bindAddress: ""
bindAddressHardFail: false
clientConnection: { acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: "", qps: 0 }
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack: { maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, udpTimeout: 0s }
detectLocal: { bridgeInterface: "", interfaceNamePrefix: "" }
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: { localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s }
ipvs: { excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s, tcpTimeout: 0s }
logging: { flushFrequency: 0, options: { json: { infoBufferSize: "0" }, text: { infoBufferSize: "0" } }, verbosity: 0 }
mode: ""
nftables: { masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s }
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
winkernel: { enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: "" }
`);
    const { config, findings } = await checkConfig({ files: [path], flags: {}, hostname });
    expect(findings).toEqual([]);
    expect(config?.services).toMatchObject({ minSyncPeriodMs: 50, syncPeriodMs: 30_000, masqueradeBit: 14 });
  });
});

test('knows as many fields as the kinds have in 1.36', () => {
  expect(Object.keys(kubeletFields)).toHaveLength(125);
  expect(Object.keys(kubeProxyFields)).toHaveLength(24);
});

test('every flag leads to a field', async () => {
  const samples: Readonly<Record<Flag['as'], string>> = {
    text: 'x',
    integer: '1',
    number: '1',
    boolean: 'true',
    list: 'x',
    map: 'a=b',
    thresholds: 'memory.available<1Gi',
    gates: 'AllAlpha=false',
    taints: 'a:NoSchedule',
    headers: 'a:b',
    memory: '0:memory=1Gi',
  };
  for (const flag of flags) {
    const { findings } = await checkConfig({ files: [], flags: { [flag.name]: samples[flag.as] }, hostname });
    expect(findings.filter((finding) => finding.text.includes('not a field'))).toEqual([]);
    expect(findings.filter((finding) => !/^(--|KubeletConfiguration: imageGC)/.test(finding.text))).toEqual([]);
  }
});

test.each<[string, number | undefined]>([
  ['1h2m3.5s', 3_723_500],
  ['250ms', 250],
  ['-1s', -1000],
  ['0', 0],
  ['10', undefined],
  ['', undefined],
  ['1d', undefined],
])('duration %s', (text, expected) => {
  expect(parseDuration(text)).toBe(expected);
});

test.each([
  [0, '0s'],
  [100, '100ms'],
  [1500, '1.5s'],
  [60_000, '1m0s'],
  [5_430_000, '1h30m30s'],
  [-1000, '-1s'],
])('%s ms is written as %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
  expect(parseDuration(text)).toBe(ms);
});
