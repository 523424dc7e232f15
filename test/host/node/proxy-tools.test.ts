import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../../src/model/resource.ts';
import type { EndpointSlice, Service } from '../../../src/model/service.ts';
import { deckhandBundle } from '../../harness/deckhand.ts';
import { type HarnessNode, NODE_ADDRESS, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { inNetns } from '../../harness/netns.ts';
import { runCommand, tryCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { kernelRules } from './support/kernel-rules.ts';

const NAME = 'deckhand-test-e2e-proxy';
const HEALTH_PORT = 31_999;

describe('around the Service rules of a node', () => {
  let node: HarnessNode;
  let address = '';

  beforeAll(async () => {
    // Of the mode before this one.
    node = await startNode(NAME, { deckhand: { args: ['--proxy-mode', 'iptables'] } });
    const service: Service = {
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: HEALTH_PORT,
        ports: [{ port: 80, targetPort: 8080, nodePort: 30_080 }],
      },
    };
    address = (await node.deckhand.api.create<Service>(resources.services, service)).spec.clusterIP ?? '';
    const slice: EndpointSlice = {
      metadata: { name: 'web-x', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      ports: [{ name: '', protocol: 'TCP', port: 8080 }],
      endpoints: [
        { addresses: ['10.244.1.201'], conditions: { ready: true }, nodeName: node.deckhand.nodeName },
        { addresses: ['10.244.9.9'], conditions: { ready: true }, nodeName: 'node-2' },
        { addresses: ['10.244.9.10'], conditions: { ready: false }, nodeName: 'node-2' },
      ],
    };
    await node.deckhand.api.create(resources.endpointslices, slice);
    await waitFor('the rules of iptables', async () => (await legacyRules()).includes('default/web ->'));
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const onNode = (...argv: readonly string[]) => tryCommand(inNetns(node.netns, argv));
  const deckhand = (...args: readonly string[]) => onNode(process.execPath, deckhandBundle(), ...args);
  const legacyRules = async (): Promise<string> => (await onNode('iptables-save')).stdout;
  const hasNftables = async (): Promise<boolean> =>
    [...(await kernelRules(node))].some((rule) => rule.startsWith(`endpoints { ${address} . 6 . 80 : `));

  it('from iptables to nftables: the new rules come, and then the old ones go', async () => {
    await node.deckhand.restart(['--proxy-mode', 'nftables']);
    await waitFor('the rules of nftables', hasNftables);
    await waitFor('the old rules to go', async () => !(await legacyRules()).includes('KUBE-SVC'));
    // What is left is for others who write iptables.
    const left = [...(await legacyRules()).matchAll(/^:(KUBE-\S+)/gm)].map(([, chain]) => chain);
    expect([...new Set(left)].sort()).toEqual(['KUBE-FIREWALL', 'KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY']);
  });

  it('kube-proxy’s ports answer', async () => {
    const health = await node.client.request(`http://${NODE_ADDRESS}:10256/healthz`);
    expect(health.status).toBe(200);
    expect(JSON.parse(health.body)).toMatchObject({ nodeEligible: true, status: { IPv4: { healthy: true } } });
    expect((await node.client.request(`http://${NODE_ADDRESS}:10256/livez`)).status).toBe(200);
    expect((await node.local.request('http://127.0.0.1:10249/proxyMode')).body).toBe('nftables');
    const configz = JSON.parse((await node.local.request('http://127.0.0.1:10249/configz')).body);
    expect(configz['kubeproxy.config.k8s.io']).toMatchObject({
      kind: 'KubeProxyConfiguration',
      metricsBindAddress: '127.0.0.1:10249',
    });
    expect((await node.local.request('http://127.0.0.1:10249/metrics')).body).toContain('kubeproxy_sync_proxy_rules_');
    const check = await node.client.request(`http://${NODE_ADDRESS}:${HEALTH_PORT}/`);
    expect(check.status).toBe(200);
    expect(JSON.parse(check.body)).toMatchObject({ localEndpoints: 1, serviceProxyHealthy: true });
  });

  it('explain says where a Service leads to and why, and that the kernel says the same', async () => {
    const { code, stdout } = await deckhand('explain', 'service', 'default/web', '--from', '203.0.113.9');
    expect(code).toBe(0);
    expect(stdout).toContain(`cluster IP ${address}:80: forwards by policy Cluster`);
    expect(stdout).toContain('10.244.1.201:8080, on this node: in (Cluster, Local)');
    expect(stdout).toContain('10.244.9.9:8080: in (Cluster); it is on another node, and the policy is Local');
    expect(stdout).toContain('10.244.9.10:8080: out; it is not ready');
    expect(stdout).toContain(`from 203.0.113.9 to ${NODE_ADDRESS}:30080/TCP: forward`);
    expect(stdout).toContain('the kernel holds these rules');
    const json = await deckhand('explain', 'service', 'web', '--to', `${address}:81`, '--output', 'json');
    expect(JSON.parse(json.stdout)[0].packets).toMatchObject([{ verdict: 'reject', from: NODE_ADDRESS }]);
    const wrong = await deckhand('explain', 'service', 'web', '--to', 'nowhere');
    expect([wrong.code, wrong.stderr]).toEqual([
      1,
      expect.stringContaining('--to is "nowhere"; expected ADDRESS:PORT'),
    ]);
    expect((await deckhand('explain', 'service', 'default/none')).stderr).toContain('there is no Service default/none');
  });

  it('plan has nothing to write, until somebody meddles', async () => {
    expect((await deckhand('plan')).stdout).toMatch(/^# IPv4: nothing to write$/m);
    // Elements are read back each hour only; plan and explain look at once.
    const [, element = ''] = /(\S+ \. 6 \. 80)/.exec(`${address} . 6 . 80`) ?? [];
    await runCommand(
      inNetns(node.netns, ['nft', 'delete', 'element', 'ip', 'deckhand', 'service-ips', `{ ${element} }`]),
    );
    expect((await deckhand('plan')).stdout).toContain(`add element ip deckhand service-ips { ${address} . 6 . 80 : `);
    expect((await deckhand('explain', 'service', 'web')).stdout).toContain('the kernel does not hold all of this');
    expect((await kernelRules(node)).has(`service-ips { ${address} . 6 . 80`)).toBe(false);
  });

  it('a flush of everything is repaired within a second', async () => {
    for (let turn = 0; turn < 3; turn++) {
      const since = performance.now();
      await runCommand(inNetns(node.netns, ['nft', 'flush', 'ruleset']));
      await waitFor('the rules to come back', hasNftables, { intervalMs: 20 });
      // A second until it is seen, and something for a machine that does much else.
      expect(performance.now() - since).toBeLessThan(3_000);
    }
  });

  it('cleanup takes everything of ours away, and on request what kube-proxy left', async () => {
    await node.deckhand.stop();
    await runCommand(inNetns(node.netns, ['nft', 'add', 'table', 'ip', 'kube-proxy']));
    await runCommand(inNetns(node.netns, ['nft', 'add', 'table', 'ip', 'foreign']));
    await runCommand(inNetns(node.netns, ['iptables', '-t', 'nat', '-N', 'KUBE-SERVICES']));
    await runCommand(inNetns(node.netns, ['iptables', '-t', 'nat', '-A', 'OUTPUT', '-j', 'KUBE-SERVICES']));
    await runCommand(inNetns(node.netns, ['ipset', 'create', 'KUBE-CLUSTER-IP', 'hash:ip,port']));
    await runCommand(inNetns(node.netns, ['ipset', 'create', 'FOREIGN', 'hash:ip']));
    expect((await deckhand('proxy', 'cleanup')).stdout).toContain('removed the IPv4 table deckhand (nftables)');
    expect((await kernelRules(node)).size).toBe(0);
    expect(await legacyRules()).toContain('KUBE-SERVICES');
    expect((await onNode('ipset', 'save')).stdout).toContain('KUBE-CLUSTER-IP');
    const all = await deckhand('proxy', 'cleanup', '--kube-proxy');
    // The chains go with the sets: several have the same names in both modes.
    expect(all.stdout).toContain('removed the virtual servers of Services, their device, KUBE- sets and chains (ipvs)');
    expect(all.stdout).toContain('removed the IPv4 table kube-proxy (nftables)');
    expect([all.code, all.stderr]).toEqual([0, '']);
    expect(await legacyRules()).not.toContain('KUBE-');
    expect((await onNode('ipset', 'save')).stdout).toMatch(/^create FOREIGN [^\n]*\n$/);
    const tables = await runCommand(inNetns(node.netns, ['nft', 'list', 'tables']));
    expect(tables).toContain('foreign');
    expect(tables).not.toMatch(/kube-proxy|deckhand/);
    expect((await deckhand('proxy', 'cleanup')).stdout).toBe('there was nothing to remove\n');
  });

  it('mode ipvs on a kernel without it: what is missing is named, and the daemon ends', async () => {
    const hasIpvs = (await onNode('ipvsadm', '-L', '-n')).code === 0;
    const start = node.deckhand.restart(['--proxy-mode', 'ipvs']);
    if (hasIpvs) await start;
    else
      await expect(start).rejects.toThrow(/can't use the IPVS proxier: it needs virtual servers .*kernel module ip_vs/);
  });
});
