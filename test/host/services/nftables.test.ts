import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NftablesPort } from '../../../src/host/nftables/port.ts';
import { openNftables } from '../../../src/host/nftables/real.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { EndpointSlice, IPFamily, Service } from '../../../src/model/service.ts';
import { NftablesBackend } from '../../../src/services/act/nftables-backend.ts';
import type { ServicePortRules } from '../../../src/services/model.ts';
import { serviceRules } from '../../../src/services/policy/service-rules.ts';
import { createNetns, deleteNetns } from '../../harness/netns.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { base, facts, here, service, slice } from '../../unit/services/support/objects.ts';

const isRoot = process.getuid?.() === 0;
const netns = `dhsvc-nft-${process.pid}`;
const prefix = ['nsenter', `--net=/run/netns/${netns}`];

type World = ReadonlyMap<string, readonly ServicePortRules[]>;

function rulesOf(
  one: Service,
  slices: readonly EndpointSlice[],
  family: IPFamily = 'IPv4',
): readonly ServicePortRules[] {
  return serviceRules({ service: one, slices, family, facts, local: () => undefined }).rules;
}

/** A table as a set of lines: places of endpoints are a matter of history, and chance. */
function contentOf(listing: string): string[] {
  const lines = listing
    .replace(/elements = \{([^}]*)\}/g, (_all, elements: string) => elements.replaceAll(',', '\n'))
    .split('\n')
    .map((line) => line.trim().replace(/^\d+ bytes/, ''))
    .filter((line) => line !== '' && !/ timeout .* expires /.test(line));
  return lines.sort();
}

describe.skipIf(!isRoot)('the nftables backend on a real kernel', () => {
  let port: NftablesPort;

  beforeAll(async () => {
    await createNetns(netns);
    const opened = await openNftables({ family: 'IPv4', prefix });
    if (opened === undefined) throw new Error('no nftables');
    port = opened;
  });
  afterAll(() => deleteNetns(netns));

  const clean = (): Promise<void> => new NftablesBackend({ nftables: port, log: silent }).cleanup();
  const listing = async (): Promise<string> => (await port.table('deckhand')) ?? '';

  it('any sequence of changes ends as a cold start does', async () => {
    const names = ['a', 'b', 'c'];
    const endpoint = fc.constantFrom('10.1.0.11', '10.1.0.12', '10.1.0.13', '10.9.0.14');
    const state = fc.record({
      name: fc.constantFrom(...names),
      there: fc.boolean(),
      endpoints: fc.uniqueArray(endpoint),
      sticky: fc.boolean(),
      kind: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer'),
      local: fc.boolean(),
      ranges: fc.boolean(),
    });
    const rulesFor = (change: typeof state extends fc.Arbitrary<infer T> ? T : never): readonly ServicePortRules[] => {
      if (!change.there) return [];
      const index = names.indexOf(change.name);
      const one = service(`ns/${change.name}`, {
        clusterIP: `172.30.0.${index + 1}`,
        type: change.kind as 'ClusterIP',
        ...(change.sticky ? { sessionAffinity: 'ClientIP' as const } : {}),
        ...(change.kind !== 'ClusterIP' && change.local ? { externalTrafficPolicy: 'Local' as const } : {}),
        ...(change.kind === 'LoadBalancer' && change.ranges ? { loadBalancerSourceRanges: ['10.0.0.0/8'] } : {}),
        ports: [{ name: 'p80', port: 80, ...(change.kind === 'ClusterIP' ? {} : { nodePort: 30_080 + index }) }],
      });
      const withIp =
        change.kind === 'LoadBalancer'
          ? { ...one, status: { loadBalancer: { ingress: [{ ip: `192.0.2.${index + 1}` }] } } }
          : one;
      const local = change.endpoints.map((address) => (address.startsWith('10.1.') ? here(address) : address));
      return rulesOf(withIp, [slice(`ns/${change.name}`, local)]);
    };
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 1, maxLength: 8 }), async (changes) => {
        await clean();
        const world = new Map<string, readonly ServicePortRules[]>();
        const backend = new NftablesBackend({ nftables: port, log: silent });
        await backend.sync({ base, services: [], complete: true });
        for (const change of changes) {
          const key = `ns/${change.name}`;
          world.set(key, rulesFor(change));
          await backend.sync({ base, services: [[key, world.get(key) ?? []]], complete: false });
          expect(backend.needsComplete).toBe(false);
        }
        // A second agent finds all of it as it wants it.
        const again = await new NftablesBackend({ nftables: port, log: silent }).sync({
          base,
          services: world,
          complete: true,
        });
        const grown = await listing();
        expect(again.operations, grown).toBe(0);
        await clean();
        await new NftablesBackend({ nftables: port, log: silent }).sync({ base, services: world, complete: true });
        const cold = contentOf(await listing());
        // Which endpoint has which place may differ: compare what stands in the maps, and every other line.
        expect(contentOf(grown).length).toBe(cold.length);
        expect(contentOf(grown).filter((line) => !/ : 10\./.test(line) && !/sticky|endpoint\//.test(line))).toEqual(
          cold.filter((line) => !/ : 10\./.test(line) && !/sticky|endpoint\//.test(line)),
        );
      }),
      { numRuns: 25 },
    );
  });

  it('one endpoint more or less is two or three elements, among 10 Services as among 1,000', async () => {
    for (const amount of [10, 1000]) {
      await clean();
      const world: World = new Map(
        Array.from({ length: amount }, (_, index): [string, readonly ServicePortRules[]] => {
          const key = `ns/s${index}`;
          const one = service(key, { clusterIP: `172.30.${index >> 8}.${index & 255}` });
          return [key, rulesOf(one, [slice(key, ['10.9.0.1', '10.9.0.2'])])];
        }),
      );
      const backend = new NftablesBackend({ nftables: port, log: silent });
      await backend.sync({ base, services: world, complete: true });
      const one = service('ns/s5', { clusterIP: '172.30.0.5' });
      const more = rulesOf(one, [slice('ns/s5', ['10.9.0.1', '10.9.0.2', '10.9.0.3'])]);
      await backend.sync({ base, services: [['ns/s6', []]], complete: false });
      const first = await backend.sync({ base, services: [['ns/s5', more]], complete: false });
      const less = await backend.sync({ base, services: [['ns/s5', world.get('ns/s5') ?? []]], complete: false });
      // Two chains, a map and their taking away come with the first and the last Service of three endpoints.
      expect(first.written['endpoints/2']).toBe(1);
      expect(first.written['service-ips']).toBe(1);
      expect(first.operations).toBeLessThanOrEqual(9);
      expect(less.operations).toBeLessThanOrEqual(7);
    }
  });

  it('a Service that the kernel refuses is set aside, all others are there', async () => {
    await clean();
    const good = rulesOf(service('ns/good', { clusterIP: '172.30.0.1' }), [slice('ns/good', ['10.9.0.1'])]);
    const [sound] = rulesOf(service('ns/bad', { clusterIP: '172.30.0.2' }), [slice('ns/bad', ['10.9.0.2'])]);
    if (sound === undefined) throw new Error('no rules');
    const bad = [{ ...sound, cluster: [{ address: '10.9.0.999', port: 80, local: false }] }];
    const services: World = new Map([
      ['ns/bad', bad],
      ['ns/good', good],
    ]);
    const backend = new NftablesBackend({ nftables: port, log: silent });
    const report = await backend.sync({ base, services, complete: true });
    expect(report.setAside.map((one) => one.service)).toEqual(['ns/bad']);
    expect(await listing()).toContain('172.30.0.1 . 6 . 80 : ');
    expect(await listing()).not.toContain('172.30.0.2');
  });

  it('ranges that overlap, touch or are out of order read back as they were written', async () => {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const [vip, lb, ends, ranges, serviceCIDRs] =
        family === 'IPv4'
          ? [
              '172.30.0.1',
              '192.168.0.77',
              '10.9.0.1',
              ['10.2.0.0/16', '10.1.0.0/16', '10.1.3.0/24', '192.0.2.9/32', '192.168.0.0/24'],
              ['10.96.0.0/16', '10.100.0.0/16', '10.97.0.0/16'],
            ]
          : [
              'fd00:9::1',
              'fd00:8::1',
              'fd00:3::1',
              ['fd00:2::/64', 'fd00:1::/64', 'fd00:0:0:1::/64', 'fd00::/64', 'fd00:5::1/128'],
              ['fd00:97::/112', 'fd00:96::/112'],
            ];
      const opened = await openNftables({ family, prefix });
      if (opened === undefined) throw new Error(`no nftables for ${family}`);
      const one = {
        ...service('ns/ranges', {
          clusterIP: vip,
          clusterIPs: [vip],
          type: 'LoadBalancer',
          loadBalancerSourceRanges: ranges,
        }),
        status: { loadBalancer: { ingress: [{ ip: lb }] } },
      };
      const services: World = new Map([
        ['ns/ranges', rulesOf(one, [slice('ns/ranges', [ends], { addressType: family })], family)],
      ]);
      const change = {
        base: { ...base, family, localDetector: { kind: 'none' as const }, serviceCIDRs },
        services,
        complete: true,
      };
      // By its clock reading costs nothing, so that each look is at all chains.
      const backend = new NftablesBackend({ nftables: opened, log: silent, clock: new ManualClock(0) });
      expect((await backend.sync(change)).setAside).toEqual([]);
      let rung = 0;
      backend.alarm.subscribe(() => rung++);
      for (let look = 0; look < 5; look++) {
        expect(await backend.intact()).toBe(true);
        await pause(200);
      }
      expect(rung).toBe(0);
      await opened.apply(`add rule ${family === 'IPv4' ? 'ip' : 'ip6'} deckhand masquerading accept\n`);
      expect(await backend.intact()).toBe(true);
      await waitFor('the rule to be found', async () => rung > 0 || undefined);
      expect(await backend.intact()).toBe(false);
      await backend.sync(change);
      expect((await new NftablesBackend({ nftables: opened, log: silent }).sync(change)).operations).toBe(0);
      await backend.cleanup();
    }
  });

  it('of two Services with one external address the first one answers, and then the other', async () => {
    await clean();
    const make = (name: string, clusterIP: string): readonly ServicePortRules[] =>
      rulesOf(service(name, { clusterIP, externalIPs: ['192.0.2.9'] }), [slice(name, ['10.9.0.1'])]);
    const [a, b] = [make('ns/a', '172.30.0.1'), make('ns/b', '172.30.0.2')];
    const backend = new NftablesBackend({ nftables: port, log: silent });
    const report = await backend.sync({
      base,
      services: new Map([
        ['ns/a', a],
        ['ns/b', b],
      ]),
      complete: true,
    });
    expect(report.setAside).toEqual([{ service: 'ns/b', reason: 'ns/a answers on 192.0.2.9 port 80/TCP already' }]);
    await backend.sync({ base, services: [['ns/a', []]], complete: false });
    expect(backend.needsComplete).toBe(true);
    const then = await backend.sync({ base, services: new Map([['ns/b', b]]), complete: true });
    expect(then.setAside).toEqual([]);
    expect(await listing()).toContain('192.0.2.9 . 6 . 80 : 10.9.0.1 . 8080');
  });

  it('IPv6: all shapes of rules are taken by the kernel, and read back as they were written', async () => {
    const port6 = await openNftables({ family: 'IPv6', prefix });
    if (port6 === undefined) throw new Error('no nftables for IPv6');
    const base6 = {
      ...base,
      family: 'IPv6' as const,
      localDetector: { kind: 'clusterCIDR' as const, cidrs: ['fd00:1::/64'] },
    };
    const one = service('ns/six', {
      clusterIP: 'fd00:9::1',
      clusterIPs: ['fd00:9::1'],
      ipFamilies: ['IPv6'],
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      loadBalancerSourceRanges: ['fd00:2::/64'],
      sessionAffinity: 'ClientIP',
      ports: [{ name: 'p80', port: 80, nodePort: 30_080 }],
    });
    const six = { ...one, status: { loadBalancer: { ingress: [{ ip: 'fd00:8::1' }] } } };
    const plain = service('ns/plain', { clusterIP: 'fd00:9::2', clusterIPs: ['fd00:9::2'], ipFamilies: ['IPv6'] });
    const slices = (name: string): EndpointSlice[] => [
      { ...slice(name, [here('fd00:1::11'), 'fd00:3::12']), addressType: 'IPv6' } as EndpointSlice,
    ];
    const services: World = new Map([
      ['ns/six', rulesOf(six, slices('ns/six'), 'IPv6')],
      ['ns/plain', rulesOf(plain, slices('ns/plain'), 'IPv6')],
    ]);
    const first = await new NftablesBackend({ nftables: port6, log: silent }).sync({
      base: base6,
      services,
      complete: true,
    });
    expect(first.setAside).toEqual([]);
    expect(first.operations).toBeGreaterThan(40);
    const again = await new NftablesBackend({ nftables: port6, log: silent }).sync({
      base: base6,
      services,
      complete: true,
    });
    expect(again.operations).toBe(0);
  });
});
