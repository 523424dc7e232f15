import { describe, expect, it } from 'vitest';
import { FakeNftables } from '../../../src/host/nftables/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { NftablesBackend } from '../../../src/services/act/nftables-backend.ts';
import { explanationText } from '../../../src/services/explain/explain-service.ts';
import { ServiceInspector } from '../../../src/services/explain/service-inspector.ts';
import { here, nodeIP, service, slice, there } from './support/objects.ts';
import { startedWorld } from './support/world.ts';

async function open(options: { refuses?: (line: string) => boolean } = {}) {
  const kernel = new FakeNftables(options);
  const backend = new NftablesBackend({ nftables: kernel, log: silent });
  const world = await startedWorld({ backend });
  const inspector = new ServiceInspector({ loop: world.loop, backends: [backend], net: world.net });
  world.services.put(
    service('ns/web', {
      clusterIP: '172.30.0.1',
      type: 'NodePort',
      ports: [{ name: 'p80', port: 80, nodePort: 30_080 }],
    }),
    service('ns/none', { clusterIP: '172.30.0.2' }),
  );
  world.slices.put(
    slice('ns/web', [
      here('10.1.0.1'),
      { ...there('10.1.1.2'), hints: { forZones: [{ name: 'zone-b' }] } },
      there('10.1.1.3', { ready: false }),
      there('10.1.1.4', { ready: false, serving: true, terminating: true }),
    ]),
  );
  await world.settle(100);
  return { kernel, world, inspector };
}

describe('explaining a Service', () => {
  it('why each endpoint is in or out', async () => {
    const { inspector } = await open();
    const [one] = await inspector.explain('ns/web', {});
    expect(one?.ports[0]?.endpoints).toEqual([
      { endpoint: '10.1.0.1:8080', onThisNode: true, chosenBy: ['Cluster'] },
      { endpoint: '10.1.1.2:8080', onThisNode: false, chosenBy: ['Cluster'] },
      { endpoint: '10.1.1.3:8080', onThisNode: false, chosenBy: [], out: 'is not ready' },
      { endpoint: '10.1.1.4:8080', onThisNode: false, chosenBy: [], out: 'is being ended, and others are ready' },
    ]);
    expect(one).toMatchObject({ problems: [], packets: [], unwritten: [] });
    expect(await inspector.explain('ns/unknown', {})).toEqual([]);
  });

  it('hints keep an endpoint out', async () => {
    const { world, inspector } = await open();
    const hint = (zone: string) => ({ hints: { forZones: [{ name: zone }] } });
    world.slices.put(
      slice('ns/web', [
        { ...there('10.1.1.1'), ...hint('zone-a') },
        { ...there('10.1.1.2'), ...hint('zone-b') },
      ]),
    );
    await world.settle(100);
    const [one] = await inspector.explain('ns/web', {});
    expect(one?.ports[0]?.endpoints.map(({ out }) => out)).toEqual([undefined, 'is hinted for the zones zone-b']);
  });

  it('what happens to packets, to one place or to all frontends', async () => {
    const { inspector } = await open();
    const [all] = await inspector.explain('ns/web', { from: '203.0.113.9' });
    expect(all?.packets.map(({ to, verdict, endpoints }) => [to, verdict, endpoints])).toEqual([
      ...['172.30.0.1:80/TCP', `${nodeIP}:30080/TCP`].map((to) => [
        to,
        'forward',
        ['10.1.0.1:8080', '10.1.1.2:8080'].map((endpoint) => ({ endpoint, masqueraded: true })),
      ]),
    ]);
    const [none] = await inspector.explain('ns/none', { to: { address: '172.30.0.2', port: 80, protocol: 'TCP' } });
    expect(none?.packets).toMatchObject([
      { from: nodeIP, verdict: 'reject', reason: 'ns/none:p80 has no usable endpoint' },
    ]);
    expect(explanationText(none ?? never())).toContain('no EndpointSlice names an endpoint for this port');
  });

  it('a kernel that lacks something, and one that refuses', async () => {
    const { kernel, inspector } = await open({ refuses: (line) => line.includes('172.30.0.2 ') });
    await kernel.apply('delete element ip deckhand endpoints/1 { 172.30.0.1 . 6 . 80 }\n');
    const { applied } = kernel;
    const [web] = await inspector.explain('ns/web', {});
    expect(web?.unwritten).toEqual(['add element ip deckhand endpoints/1 { 172.30.0.1 . 6 . 80 : 10.1.1.2 . 8080 }']);
    const [none] = await inspector.explain('ns/none', {});
    expect(none?.setAside).toContain('Operation not supported');
    // Asking writes nothing.
    expect(kernel.applied).toBe(applied);
  });

  it('plan: nothing when all is as it should be, everything after a flush', async () => {
    const { kernel, inspector } = await open();
    expect(await inspector.plan()).toEqual([{ family: 'IPv4', texts: [] }]);
    kernel.flush();
    const [{ texts = [] } = {}] = await inspector.plan();
    expect(texts.join('')).toContain('add table ip deckhand\n');
    expect(texts.join('')).toContain('10.1.0.1 . 8080');
    expect(await kernel.table('deckhand')).toBeUndefined();
  });
});

function never(): never {
  throw new Error('there is no such Service');
}
