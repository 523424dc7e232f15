import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { type HarnessNode, NODE_ADDRESS, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { RequestStream } from '../../harness/request-stream.ts';
import { runCommand } from '../../harness/run-command.ts';
import { pause } from '../../harness/wait-for.ts';
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
    await node.deckhand.kill();
    await pause(500);
    expect(await rules()).toBe(before);
    await node.deckhand.restart();
    await pause(1000);
    expect(await rules()).toBe(before);
    for (const stream of streams) {
      expect((await stream.stop()).length).toBeGreaterThan(20);
      expect(stream.failures).toEqual([]);
    }
  });
});
