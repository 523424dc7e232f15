import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServiceCIDR } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { processesOf } from '../../harness/cleanup.ts';
import { type HarnessNode, NODE_ADDRESS, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { commandLine } from '../../harness/process-identity.ts';
import { RequestStream } from '../../harness/request-stream.ts';
import { runCommand } from '../../harness/run-command.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-nftables';

describe('a node with --proxy-mode nftables', () => {
  let node: HarnessNode;
  let pods: NodePods;

  beforeAll(async () => {
    node = await startNode(NAME, { deckhand: { args: ['--proxy-mode', 'nftables'] } });
    pods = new NodePods(node);
    const service: Service = {
      metadata: { name: 'web', namespace: 'default' },
      spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080, nodePort: 30_080 }] },
    };
    await node.deckhand.api.create(resources.services, service);
    for (const name of ['web-1', 'web-2']) await pods.create(podOf(name, web(), {}, { labels: { app: 'web' } }));
    for (const name of ['web-1', 'web-2']) await pods.ready(name);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const rules = (): Promise<string> =>
    runCommand(['nsenter', `--net=/run/netns/${NAME}`, 'nft', 'list', 'table', 'ip', 'deckhand']);

  it('serves cluster IPs and node ports, and no request fails while the agent is killed and comes back', async () => {
    const { spec } = await node.deckhand.api.get<Service>(resources.services, 'default', 'web');
    const streams = [
      new RequestStream(node.local, `http://${spec.clusterIP}:80/`, 5, 2),
      new RequestStream(node.client, `http://${NODE_ADDRESS}:30080/`, 5, 2),
    ];
    await pause(500);
    const before = await rules();
    const helpers = (): string[] =>
      processesOf(NAME)
        .map(({ pid }) => commandLine(pid).join(' '))
        .filter((command) => /^(xtables-monitor|nft) /.test(command))
        .sort();
    await waitFor('the helpers', async () => helpers().length === 2 || undefined);
    expect(helpers()).toEqual(['nft -n -i', 'xtables-monitor --event']);
    await node.deckhand.kill();
    await pause(500);
    expect(await rules()).toBe(before);
    expect(helpers()).toEqual([]);
    await node.deckhand.restart();
    await pause(1000);
    expect(await rules()).toBe(before);
    for (const stream of streams) {
      expect((await stream.stop()).length).toBeGreaterThan(20);
      expect(stream.failures).toEqual([]);
    }
  });

  it('follows the ServiceCIDRs of its cluster: an address in one that no Service has is dropped', async () => {
    const { api } = node.deckhand;
    const unused = 'http://10.111.0.77/';
    const ask = (url: string) => node.local.request(url, { timeoutMs: 2_000 });
    // The machine at the other end of the cable has it, and nobody listens there.
    await runCommand(['ip', '-n', node.clientNetns, 'addr', 'add', '10.111.0.77/32', 'dev', 'cable']);
    await expect(ask(unused)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await api.create<ServiceCIDR>(resources.servicecidrs, {
      metadata: { name: 'more' },
      spec: { cidrs: ['10.111.0.0/24'] },
    });
    const spec = { clusterIP: '10.111.0.9', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] };
    await api.create<Service>(resources.services, { metadata: { name: 'other', namespace: 'default' }, spec });
    await waitFor('the range', async () => (await rules()).includes('10.111.0.0/24') || undefined);
    await waitFor('an answer', async () => (await ask('http://10.111.0.9/').catch(() => undefined)) !== undefined);
    await expect(ask(unused)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await api.delete(resources.services, 'default', 'other');
    await api.delete(resources.servicecidrs, undefined, 'more');
    await waitFor('it to go', async () => !(await rules()).includes('10.111.0.0/24') || undefined);
    await expect(ask(unused)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(await rules()).toContain('10.96.0.0/16');
  });
});
