import { describe, expect, test } from 'vitest';
import { checkConfig } from '../../../src/config/load-config.ts';
import { parseArguments } from '../../../src/config/parse-arguments.ts';

const parse = async (text: string) => await parseArguments(text.split(' ').filter((word) => word !== ''));
async function findings(text: string): Promise<string[]> {
  const found = await checkConfig({ ...(await parse(text)), hostname: () => 'n' });
  return found.findings.map(({ level, text: what }) => `${level} ${what}`);
}

describe('flags by the rules of kubelet’s', () => {
  test.each<[string, Record<string, readonly string[]>]>([
    ['--max-pods=7', { 'max-pods': ['7'] }],
    ['--max-pods 7', { 'max-pods': ['7'] }],
    ['--max_pods 7', { 'max-pods': ['7'] }],
    ['--pod-max-pids -1', { 'pod-max-pids': ['-1'] }],
    ['--fail-swap-on --max-pods 7', { 'fail-swap-on': ['true'], 'max-pods': ['7'] }],
    ['--fail-swap-on=false', { 'fail-swap-on': ['false'] }],
    ['--fail-swap-on false', { 'fail-swap-on': ['false'] }],
    ['-v4', { v: ['4'] }],
    ['-v=4', { v: ['4'] }],
    ['-v 4', { v: ['4'] }],
    ['--v=4', { v: ['4'] }],
    ['--cluster-dns 10.0.0.1 --cluster-dns=10.0.0.2', { 'cluster-dns': ['10.0.0.1', '10.0.0.2'] }],
    ['--node-labels=a=b', { 'node-labels': ['a=b'] }],
  ])('%s', async (text, expected) => {
    expect(await parse(text)).toEqual({ files: [], flags: expected, findings: [] });
  });

  test('files and a folder stand apart', async () => {
    expect(await parse('-c a --config=b --config-dir d --config=')).toEqual({
      files: ['a', 'b'],
      configDir: 'd',
      flags: {},
      findings: [],
    });
  });

  test.each<[string, readonly unknown[]]>([
    ['--max-podz 3', ['error --max-podz: is not a flag of deckhand, kubelet or kube-proxy; did you mean --max-pods?']],
    ['--zzzz=1', ['error --zzzz: is not a flag of deckhand, kubelet or kube-proxy']],
    ['stray', ['error "stray" is not expected here; expected flags only']],
    ['--max-pods', ['error --max-pods: needs a value']],
    ['--max-pods=many', ['error --max-pods: is "many"; expected an integer from 1 to 2147483647']],
    ['--fail-swap-on=maybe', ['error --fail-swap-on: is "maybe"; expected true or false']],
    ['--network-plugin=cni', [expect.stringMatching(/^error --network-plugin: was removed from kubelet in 1\.24/)]],
    [
      '--pod-infra-container-image pause:3',
      [expect.stringMatching(/^warning --pod-infra-container-image: was removed from kubelet in 1\.35/)],
    ],
    ['--container-runtime=remote', [expect.stringMatching(/^warning --container-runtime/)]],
    ['--container-runtime=docker', [expect.stringMatching(/^error --container-runtime/)]],
    ['--logtostderr --max-pods=3', [expect.stringMatching(/^error --logtostderr: was removed from kubelet in 1\.26/)]],
    ['--runtime-cgroups=/x', ['warning --runtime-cgroups: is a known flag, but not yet honoured']],
    ['--storage_driver_db=x', [expect.stringMatching(/^warning --storage-driver-db: is a flag of cAdvisor/)]],
    ['--cleanup', [expect.stringMatching(/^error --cleanup: is a flag of kube-proxy that deckhand does not honour/)]],
    [
      '--kernel-memcg-notification',
      ['warning --kernel-memcg-notification: is true: it is known, but not yet honoured'],
    ],
    ['--read-only-port=10255', []],
    ['--read-only-port=0', []],
    ['--topology-manager-policy=none', []],
    ['--ipvs-strict-arp', []],
  ])('%s is told', async (text, expected) => {
    expect(await findings(text)).toEqual(expected);
  });

  test('maps by flag begin anew, gates are put over the file’s', async () => {
    const { config } = await checkConfig({
      ...(await parse('--eviction-hard=memory.available<1Gi --system-reserved=cpu=1 --system-reserved=memory=1Gi')),
      hostname: () => 'n',
    });
    expect(config?.reserved).toMatchObject({
      evictionHard: { 'memory.available': '1Gi' },
      system: { cpu: '1', memory: '1Gi' },
    });
    const none = await checkConfig({ ...(await parse('--eviction-hard=')), hostname: () => 'n' });
    expect(none.config?.reserved.evictionHard).toEqual({});
  });

  test('headers, memory, hexadecimal numbers', async () => {
    const sources = await parse('--manifest-url-header=a:hello,b:again --manifest-url-header a:more --max-pods=0x10');
    const { config } = await checkConfig({ ...sources, hostname: () => 'n' });
    expect(config?.staticPods.urlHeader).toEqual({ a: ['hello', 'more'], b: ['again'] });
    expect(config?.pods.maxPods).toBe(16);
    expect(await findings('--reserved-memory=0:memory=1Gi,hugepages-2Mi=2Gi;1:memory=0')).toEqual([
      'error --reserved-memory: 1.limits.memory is 0; expected more than 0',
    ]);
    const options = '--topology-manager-policy-options=prefer-closest-numa-nodes=true,max-allowable-numa-nodes=16';
    const static_ = `--memory-manager-policy=Static --topology-manager-policy=restricted --topology-manager-scope=pod ${options}`;
    const numa = await parse(`${static_} --reserved-memory=0:memory=1Gi,hugepages-2Mi=2Gi;1:memory=2Gi`);
    expect((await checkConfig({ ...numa, hostname: () => 'n' })).config).toMatchObject({
      memoryManager: {
        reserved: [
          { numaNode: 0, limits: { memory: '1Gi', 'hugepages-2Mi': '2Gi' } },
          { numaNode: 1, limits: { memory: '2Gi' } },
        ],
      },
      topologyManager: { policy: 'restricted', scope: 'pod', preferClosest: true, maxNumaNodes: 16 },
    });
  });
});
