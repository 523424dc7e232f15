import { describe, expect, it } from 'vitest';
import { FakeIptables } from '../../../src/host/iptables/fake.ts';
import { Emitter } from '../../../src/kit/emitter.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import type { EndpointSlice, Service } from '../../../src/model/service.ts';
import type { LocalEndpointState, LocalEndpoints } from '../../../src/services/port.ts';
import { FakeView } from './support/fake-view.ts';
import { facts, here, nodeIP, service, slice, there } from './support/objects.ts';
import { makeWorld, startedWorld, type World } from './support/world.ts';

const locked = (): CodedError => new CodedError('Unavailable', 'another app holds the xtables lock');

/** Endpoints that a pod of this node can get to at a cluster IP. */
function behind(world: World, destination: string, port = 80): string {
  const outcomes = world.kernel.trace({ source: '10.1.0.99', inInterface: 'cni0', destination, port, protocol: 'tcp' });
  return outcomes
    .map(({ to, verdict }) => to ?? verdict)
    .sort()
    .join(' ');
}

/** The kernel's chains and rules without the order of chains. */
async function content(kernel: FakeIptables): Promise<string> {
  return await kernel.save();
}

function twoServices(): { services: FakeView<Service>; slices: FakeView<EndpointSlice> } {
  return {
    services: new FakeView([
      service('ns/a', {
        clusterIP: '172.30.0.1',
        type: 'NodePort',
        ports: [{ name: 'p80', port: 80, nodePort: 30_001 }],
      }),
      service('ns/b', { clusterIP: '172.30.0.2', sessionAffinity: 'ClientIP' }),
    ]),
    slices: new FakeView([
      slice('ns/a', ['10.1.0.1', '10.1.1.1']),
      slice('ns/b', [here('10.1.0.2'), there('10.1.1.2')]),
    ]),
  };
}

class Readiness implements LocalEndpoints {
  private readonly states = new Map<string, LocalEndpointState>();
  private readonly emitter = new Emitter<string>(() => {});

  get(address: string): LocalEndpointState | undefined {
    return this.states.get(address);
  }

  subscribe(listener: (address: string) => void): () => void {
    return this.emitter.subscribe(listener);
  }

  set(address: string, state: LocalEndpointState | undefined): void {
    if (state === undefined) this.states.delete(address);
    else this.states.set(address, state);
    this.emitter.emit(address);
  }
}

describe('ServiceLoop', () => {
  it('writes nothing before both views are complete', async () => {
    const { services, slices } = twoServices();
    services.synced = false;
    slices.synced = false;
    const world = await makeWorld({ services, slices });
    const started = world.loop.start();
    await world.settle(5_000);
    services.markSynced();
    await world.settle(5_000);
    expect(world.kernel.restores + world.kernel.saves).toBe(0);
    expect(world.loop.status().synced).toBe(false);
    slices.markSynced();
    await started;
    await world.settle();
    expect(world.kernel.restores).toBe(1);
    expect(world.loop.status().synced).toBe(true);
    expect(behind(world, '172.30.0.1')).toBe('10.1.0.1:8080 10.1.1.1:8080');
  });

  it('a restart with an unchanged world reads once and writes nothing', async () => {
    const first = await startedWorld(twoServices());
    const before = await content(first.kernel);
    await first.loop.close();
    expect(await content(first.kernel)).toBe(before);
    const restores = first.kernel.restores;
    const second = await startedWorld({ ...twoServices(), kernel: first.kernel });
    expect(first.kernel.restores).toBe(restores);
    expect(await content(first.kernel)).toBe(before);
    expect(second.loop.status().synced).toBe(true);
  });

  it('a restart after changes writes the difference alone, and sweeps what is left over', async () => {
    const first = await startedWorld(twoServices());
    await first.loop.close();
    await first.kernel.restore(
      '*nat\n:KUBE-SVC-LEFTOVERLEFTOVER - [0:0]\n:KUBE-SEP-LEFTOVERLEFTOVER - [0:0]\n' +
        '-A KUBE-SVC-LEFTOVERLEFTOVER -j KUBE-SEP-LEFTOVERLEFTOVER\nCOMMIT\n',
    );
    const lines = first.kernel.lines;
    const { services, slices } = twoServices();
    slices.put(slice('ns/a', ['10.1.0.1', '10.1.1.7']));
    const second = await startedWorld({ services, slices, kernel: first.kernel });
    expect(first.kernel.lines - lines).toBeLessThan(20);
    expect(await content(first.kernel)).not.toContain('LEFTOVER');
    const cold = await startedWorld({ services, slices });
    expect(await content(first.kernel)).toBe(await content(cold.kernel));
    expect(second.kernel).toBe(first.kernel);
  });

  it('leaves the chains and rules of others alone, and goes before them', async () => {
    const kernel = new FakeIptables({ localAddresses: [nodeIP] });
    await kernel.restore(
      '*nat\n:DOCKER - [0:0]\n:CNI-HOSTPORT-DNAT - [0:0]\n:KUBE-ROUTER-X - [0:0]\n-A PREROUTING -j DOCKER\n' +
        '-A OUTPUT -j CNI-HOSTPORT-DNAT\n-A KUBE-ROUTER-X -j RETURN\nCOMMIT\n*filter\n:KUBE-FIREWALL - [0:0]\n' +
        '-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\n-A INPUT -j KUBE-FIREWALL\nCOMMIT\n',
    );
    const foreign = ['-A PREROUTING -j DOCKER', '-A OUTPUT -j CNI-HOSTPORT-DNAT', '-A KUBE-ROUTER-X -j RETURN'];
    foreign.push('-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP', '-A INPUT -j KUBE-FIREWALL');
    const world = await startedWorld({ ...twoServices(), kernel });
    const lines = (await content(kernel)).split('\n');
    for (const rule of foreign) expect(lines).toContain(rule);
    const prerouting = lines.filter((line) => line.startsWith('-A PREROUTING'));
    expect(prerouting.map((line) => line.replace(/.* -j /, ''))).toEqual(['KUBE-SERVICES', 'DOCKER']);
    await world.loop.cleanup();
    const after = (await content(kernel))
      .split('\n')
      .filter((line) => line.startsWith('-A') || /^:(KUBE|CNI)/.test(line));
    expect(after.filter((line) => line.startsWith(':')).sort()).toEqual([
      ':CNI-HOSTPORT-DNAT - [0:0]',
      ':KUBE-ROUTER-X - [0:0]',
    ]);
  });

  it('puts a missing or misplaced jump back', async () => {
    const world = await startedWorld(twoServices());
    const before = await content(world.kernel);
    const rule = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES';
    await world.kernel.restore(`*nat\n-D PREROUTING ${rule}\nCOMMIT\n`);
    await world.settle(3_600_000);
    expect(await content(world.kernel)).toBe(before);
    await world.kernel.restore(`*nat\n-I PREROUTING 1 ${rule}\nCOMMIT\n`);
    await world.settle(3_600_000);
    expect(await content(world.kernel)).toBe(before);
  });

  it('cleanup removes everything of ours', async () => {
    const world = await startedWorld({ ...twoServices(), loop: { facts: { ...facts, localhostNodePorts: true } } });
    expect(await content(world.kernel)).toContain('KUBE-');
    await world.loop.cleanup();
    expect(await content(world.kernel)).toBe(await content(new FakeIptables()));
  });

  it('collects changes that come while a sync must wait, and syncs the first one at once', async () => {
    const world = await startedWorld({ ...twoServices(), loop: { minSyncMs: 1_000 } });
    await world.settle(10_000);
    const before = world.kernel.restores;
    world.slices.put(slice('ns/a', ['10.1.0.1']));
    await world.settle(1);
    expect(world.kernel.restores - before).toBe(1);
    for (let index = 2; index < 9; index++) world.slices.put(slice('ns/a', [`10.1.0.${index}`]));
    await world.settle(900);
    expect(world.kernel.restores - before).toBe(1);
    expect(world.loop.status().families[0]?.pendingSince).toBeDefined();
    await world.settle(200);
    expect(world.kernel.restores - before).toBe(2);
    expect(behind(world, '172.30.0.1')).toBe('10.1.0.8:8080');
    expect(world.loop.status().families[0]?.pendingSince).toBeUndefined();
  });

  it('retries after a lock that was held, with the changes of the meantime', async () => {
    const world = await startedWorld(twoServices());
    world.kernel.failNext(locked());
    world.slices.put(slice('ns/a', ['10.1.0.7']));
    await world.settle(1);
    // The full sync that follows a failed one is not held up.
    expect(behind(world, '172.30.0.1')).toBe('10.1.0.7:8080');
    expect(await world.metrics.text()).toMatch(/partial_restore_failures_total\{ip_family="IPv4"\} 1/);
  });

  it('says that it is behind while the kernel refuses, and recovers by itself', async () => {
    const world = await startedWorld(twoServices());
    const restore = world.kernel.restore.bind(world.kernel);
    world.kernel.restore = async () => {
      throw locked();
    };
    world.slices.put(slice('ns/a', ['10.1.0.7']));
    const since = world.clock.now();
    await world.settle(20_000);
    expect(world.loop.status().families[0]).toMatchObject({
      pendingSince: since,
      lastError: expect.stringContaining('xtables lock'),
    });
    expect(await world.metrics.text()).toMatch(
      /kubeproxy_sync_proxy_rules_iptables_restore_failures_total\{ip_family="IPv4"\} [1-9]/,
    );
    world.kernel.restore = restore;
    await world.settle(31_000);
    expect(world.loop.status().families[0]).toMatchObject({ pendingSince: undefined, lastError: undefined });
    expect(behind(world, '172.30.0.1')).toBe('10.1.0.7:8080');
  });

  it('writes again what somebody flushed, within the check interval', async () => {
    const world = await startedWorld(twoServices());
    const before = await content(world.kernel);
    world.kernel.flush('nat');
    await world.settle(29_000);
    expect(behind(world, '172.30.0.1')).toBe('accept');
    await world.settle(2_000);
    expect(await content(world.kernel)).toBe(before);
    expect(await world.metrics.text()).toMatch(/foreign_flushes_total\{ip_family="IPv4"\} 1/);
  });

  it('a look at an unchanged kernel writes nothing, and the hourly reading neither', async () => {
    const world = await startedWorld(twoServices());
    const { restores, saves } = world.kernel;
    await world.settle(3_500_000);
    expect(world.kernel.saves).toBe(saves);
    await world.settle(7_200_000);
    expect(world.kernel.saves - saves).toBeGreaterThanOrEqual(2);
    expect(world.kernel.restores).toBe(restores);
  });

  it('the hourly reading finds a single rule that somebody changed', async () => {
    const world = await startedWorld(twoServices());
    const before = await content(world.kernel);
    await world.kernel.restore('*nat\n:KUBE-MARK-MASQ - [0:0]\nCOMMIT\n');
    await world.settle(3_700_000);
    expect(await content(world.kernel)).toBe(before);
  });

  it('sets aside the Services that the kernel refuses; all others are served', async () => {
    const kernel = new FakeIptables({
      localAddresses: [nodeIP],
      refuses: (line) => /10\.66\.|172\.30\.0\.66/.test(line),
    });
    const services = new FakeView<Service>();
    const slices = new FakeView<EndpointSlice>();
    for (let index = 1; index <= 60; index++) {
      services.put(service(`ns/s${index}`, { clusterIP: `172.30.0.${index}` }));
      slices.put(slice(`ns/s${index}`, [`10.1.0.${index}`]));
    }
    slices.put(slice('ns/s7', ['10.66.0.7']), slice('ns/s50', ['10.66.0.50']));
    services.put(service('ns/poison-vip', { clusterIP: '172.30.0.66' }));
    const world = await startedWorld({ kernel, services, slices });
    const asides = (): string[] =>
      world.loop
        .status()
        .families[0]?.setAside.map((one) => one.service)
        .sort() ?? [];
    expect(asides()).toEqual(['ns/poison-vip', 'ns/s50', 'ns/s7']);
    for (let index = 1; index <= 60; index++) {
      expect(behind(world, `172.30.0.${index}`)).toBe(index === 7 || index === 50 ? 'accept' : `10.1.0.${index}:8080`);
    }
    expect(await content(kernel)).not.toContain('SCRATCH');
    expect(await world.metrics.text()).toMatch(/deckhand_services_set_aside\{ip_family="IPv4"\} 3/);

    // A Service that goes bad while others are served; then one that gets well.
    slices.put(slice('ns/s9', ['10.66.0.9']));
    await world.settle(10);
    expect(asides()).toEqual(['ns/poison-vip', 'ns/s50', 'ns/s7', 'ns/s9']);
    expect(behind(world, '172.30.0.10')).toBe('10.1.0.10:8080');
    slices.put(slice('ns/s9', ['10.1.0.9']));
    await world.settle(10);
    expect(asides()).toEqual(['ns/poison-vip', 'ns/s50', 'ns/s7']);
    expect(behind(world, '172.30.0.9')).toBe('10.1.0.9:8080');
  });

  it('the others are served without a break while a bad Service is looked for', async () => {
    const kernel = new FakeIptables({ localAddresses: [nodeIP], refuses: (line) => line.includes('10.66.') });
    const world = await startedWorld({ ...twoServices(), kernel });
    const restore = kernel.restore.bind(kernel);
    const seen = new Set<string>();
    kernel.restore = async (text) => {
      await restore(text).finally(() => seen.add(behind(world, '172.30.0.2')));
    };
    world.slices.put(slice('ns/a', ['10.66.0.1']));
    await world.settle(10);
    expect(world.loop.status().families[0]?.setAside).toMatchObject([{ service: 'ns/a' }]);
    expect([...seen]).toEqual(['10.1.0.2:8080 10.1.1.2:8080']);
  });

  it('a kernel that refuses everything is an error of no Service', async () => {
    const kernel = new FakeIptables({ refuses: () => true });
    const world = await startedWorld({ ...twoServices(), kernel });
    expect(world.loop.status().families[0]).toMatchObject({
      lastSyncedAt: undefined,
      lastError: expect.any(String),
      setAside: [],
    });
    expect(world.logged.filter(({ message }) => message.includes('set aside'))).toEqual([]);
  });

  it.each([
    ['nft', 3],
    ['legacy', 1],
  ] as const)(
    'a big cold start by %s: traffic sees one change, the last; a failure on the way is no harm',
    async (flavour, least) => {
      const services = new FakeView<Service>();
      const slices = new FakeView<EndpointSlice>();
      for (let index = 1; index <= 2_500; index++) {
        services.put(service(`ns/s${index}`, { clusterIP: `172.30.${index >> 8}.${index & 255}` }));
        slices.put(slice(`ns/s${index}`, [`10.1.${index >> 8}.${index & 255}`]));
      }
      const kernel = new FakeIptables({ localAddresses: [nodeIP], flavour });
      const restore = kernel.restore.bind(kernel);
      const seen: string[] = [];
      const world = await makeWorld({ kernel, services, slices });
      kernel.restore = async (text) => {
        await restore(text);
        seen.push(`${behind(world, '172.30.0.1')} ${behind(world, '172.30.9.196')}`);
        if (seen.length === 1) kernel.failNext(locked());
      };
      await world.loop.start();
      for (let second = 0; second < 4; second++) await world.settle(1_000);
      expect(seen.length).toBeGreaterThanOrEqual(least);
      expect([...new Set(seen.slice(0, -1))]).toEqual(least > 1 ? ['accept accept'] : []);
      expect(seen.at(-1)).toBe('10.1.0.1:8080 10.1.9.196:8080');
    },
  );

  it('reports each bad object once and serves everything else', async () => {
    const world = await startedWorld();
    world.services.put(
      service('ns/bad-ip', { clusterIP: '172.30.0.999' }),
      service('ns/bad-port', {
        clusterIP: '172.30.0.3',
        ports: [
          { name: 'p80', port: 80 },
          { name: 'big', port: 70_000 },
          { name: 'odd"\n-F', port: 81 },
          { name: 'p80', port: 82 },
        ],
      }),
      service('ns/good', { clusterIP: '172.30.0.4' }),
      service('n s/evil"', { clusterIP: '172.30.0.5' }),
    );
    world.slices.put(
      slice('ns/bad-port', ['10.1.0.1', 'nonsense', 'fd00::1']),
      slice('ns/good', ['10.1.0.2']),
      slice('ns/good', ['10.1.0.3'], { suffix: 'noport', ports: [{ name: 'p80' }] }),
    );
    await world.settle(10);
    expect(behind(world, '172.30.0.3')).toBe('10.1.0.1:8080');
    expect(behind(world, '172.30.0.4')).toBe('10.1.0.2:8080');
    const warnings = (): string[] =>
      world.logged
        .filter(({ level }) => level === 'warn')
        .map(({ fields, message }) => `${fields['object']}: ${message}`);
    expect(warnings().sort()).toEqual([
      'n s/evil": skips the Service: metadata.namespace and metadata.name must be DNS names, not "n s/evil\\""',
      'ns/bad-ip: skips "172.30.0.999" in spec.clusterIPs: it must be an IP address',
      'ns/bad-port-x: skips endpoints[1]: addresses[0] must be an IPv4 address, not "nonsense"',
      'ns/bad-port-x: skips endpoints[2]: addresses[0] must be an IPv4 address, not "fd00::1"',
      'ns/bad-port: skips spec.ports[1]: port must be a number from 1 to 65535, not 70000',
      'ns/bad-port: skips spec.ports[2]: name must be a DNS label, not "odd\\"\\n-F"',
      'ns/bad-port: skips spec.ports[3]: name and protocol are those of an earlier port',
      'ns/good-noport: skips ports[0]: port must be a number from 1 to 65535, not absent',
    ]);
    world.slices.put(slice('ns/bad-port', ['10.1.0.9', 'nonsense', 'fd00::1']));
    await world.settle(10);
    expect(warnings()).toHaveLength(8);
    expect(await world.metrics.text()).toMatch(/deckhand_services_invalid_objects\{ip_family="IPv4"\} 4/);
    world.services.delete('ns/bad-ip');
    await world.settle(10);
    expect(await world.metrics.text()).toMatch(/deckhand_services_invalid_objects\{ip_family="IPv4"\} 3/);
  });

  it("follows this node's own knowledge of its pods before the API does", async () => {
    const localEndpoints = new Readiness();
    const world = await startedWorld({ ...twoServices(), localEndpoints });
    expect(behind(world, '172.30.0.2')).toBe('10.1.0.2:8080 10.1.1.2:8080');
    localEndpoints.set('10.1.0.2', 'not-ready');
    await world.settle(1);
    expect(behind(world, '172.30.0.2')).toBe('10.1.1.2:8080');
    localEndpoints.set('10.1.0.2', 'serving');
    await world.settle(1);
    expect(behind(world, '172.30.0.2')).toBe('10.1.0.2:8080 10.1.1.2:8080');
    localEndpoints.set('10.1.0.2', 'terminating');
    await world.settle(1);
    expect(behind(world, '172.30.0.2')).toBe('10.1.1.2:8080');
    world.slices.put(slice('ns/b', [here('10.1.0.2')]));
    await world.settle(1);
    expect(behind(world, '172.30.0.2')).toBe('10.1.0.2:8080');
    // A pod elsewhere is none of this node's business, whatever its address.
    localEndpoints.set('10.1.1.1', 'not-ready');
    await world.settle(1);
    expect(behind(world, '172.30.0.1')).toBe('10.1.0.1:8080 10.1.1.1:8080');
    world.services.put(service('ns/b', { clusterIP: '172.30.0.2', publishNotReadyAddresses: true }));
    localEndpoints.set('10.1.0.2', 'not-ready');
    await world.settle(1);
    expect(behind(world, '172.30.0.2')).toBe('10.1.0.2:8080');
  });

  it('follows a slice that moves from one Service to another', async () => {
    const world = await startedWorld(twoServices());
    const moved = slice('ns/b', ['10.1.0.1', '10.1.1.1']);
    world.slices.put({ ...moved, metadata: { ...moved.metadata, name: 'a-x' } });
    await world.settle(1);
    expect(behind(world, '172.30.0.1')).toBe('reject');
    expect(behind(world, '172.30.0.2')).toBe('10.1.0.1:8080 10.1.0.2:8080 10.1.1.1:8080 10.1.1.2:8080');
  });

  it('works all rules out anew for other facts of the node', async () => {
    const world = await startedWorld(twoServices());
    world.loop.setFacts({ ...facts, localDetector: { kind: 'bridgeInterface', name: 'cni7' } });
    await world.settle(1);
    const text = await content(world.kernel);
    expect(text).toContain('! -i cni7');
    expect(text).not.toContain('! -s 10.1.0.0/16');
    const { restores } = world.kernel;
    world.loop.setFacts({ ...facts, localDetector: { kind: 'bridgeInterface', name: 'cni7' } });
    await world.settle(1);
    expect(world.kernel.restores).toBe(restores);
  });

  it('follows the addresses of the node for node ports, at the latest with the next check', async () => {
    const world = await startedWorld({
      ...twoServices(),
      loop: { facts: { ...facts, nodePortAddresses: ['192.168.0.0/16'] } },
    });
    const nodePorts = async (): Promise<string[]> =>
      [...(await content(world.kernel)).matchAll(/^-A KUBE-SERVICES -d (\S+) .* -j KUBE-NODEPORTS$/gm)].map(
        (m) => m[1] ?? '',
      );
    expect(await nodePorts()).toEqual(['192.168.0.2/32']);
    world.net.addresses = ['127.0.0.1', '192.168.0.2', '192.168.7.7', '10.0.0.1'];
    await world.settle(31_000);
    expect(await nodePorts()).toEqual(['192.168.0.2/32', '192.168.7.7/32']);
  });

  it("keeps kube-proxy's metrics", async () => {
    const world = await startedWorld(twoServices());
    world.services.put(service('ns/c', { clusterIP: '172.30.0.3', internalTrafficPolicy: 'Local' }));
    const late = slice('ns/c', [there('10.1.1.1')]);
    const annotations = {
      'endpoints.kubernetes.io/last-change-trigger-time': new Date(world.clock.now() - 2_500).toISOString(),
    };
    world.slices.put({ ...late, metadata: { ...late.metadata, annotations } });
    await world.settle(1);
    const text = await world.metrics.text();
    for (const line of [
      'kubeproxy_sync_proxy_rules_service_changes_total{ip_family="IPv4"} 1',
      'kubeproxy_sync_proxy_rules_endpoint_changes_total{ip_family="IPv4"} 1',
      'kubeproxy_sync_proxy_rules_endpoint_changes_pending{ip_family="IPv4"} 0',
      'kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="internal",ip_family="IPv4"} 1',
      'kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1',
      'kubeproxy_network_programming_duration_seconds_bucket{le="2",ip_family="IPv4"} 0',
      'kubeproxy_network_programming_duration_seconds_bucket{le="3",ip_family="IPv4"} 1',
    ]) {
      expect(text).toContain(line);
    }
    const natRules = (await content(world.kernel)).split('*nat')[1]?.split('COMMIT')[0]?.match(/^-A /gm)?.length;
    expect(text).toContain(`kubeproxy_sync_proxy_rules_iptables_total{table="nat",ip_family="IPv4"} ${natRules}`);
  });

  it('forgets stale UDP flows, after the rules, and only then', async () => {
    const ports = [{ name: 'dns', protocol: 'UDP' as const, port: 53 }];
    const dns = (endpoints: Parameters<typeof slice>[1]) => slice('ns/dns', endpoints, { ports });
    const world = await startedWorld();
    const flow = (source: string, replySource: string) => ({
      protocol: 'UDP' as const,
      family: 'IPv4' as const,
      source,
      sourcePort: 4_000,
      destination: '172.30.0.53',
      destinationPort: 53,
      replySource,
      replySourcePort: 53,
    });
    const sources = async (): Promise<string[]> =>
      (await world.conntrack.list('IPv4', 'UDP')).map((one) => `${one.source}>${one.replySource}`);
    world.services.put(service('ns/dns', { clusterIP: '172.30.0.53', ports }));
    await world.settle(1);
    world.conntrack.add(flow('10.1.0.50', '172.30.0.53'));
    world.slices.put(dns(['10.1.0.1', '10.1.0.2']));
    await world.settle(1);
    // The flow that began while there was no endpoint is gone.
    expect(await sources()).toEqual([]);
    world.conntrack.add(flow('10.1.0.50', '10.1.0.1'));
    world.conntrack.add(flow('10.1.0.51', '10.1.0.2'));
    const { commands } = world.conntrack;
    world.slices.put(dns(['10.1.0.1', '10.1.0.2', '10.1.0.3']));
    world.slices.put(slice('ns/other', ['10.1.0.9']));
    await world.settle(1);
    expect(world.conntrack.commands).toBe(commands);
    world.slices.put(dns(['10.1.0.2', '10.1.0.3']));
    await world.settle(1);
    expect(await sources()).toEqual(['10.1.0.51>10.1.0.2']);
    // Terminating, but still serving: its flows may end by themselves.
    world.slices.put(dns([there('10.1.0.2', { ready: false, serving: true, terminating: true }), '10.1.0.3']));
    await world.settle(1);
    expect(await sources()).toEqual(['10.1.0.51>10.1.0.2']);
    const text = await world.metrics.text();
    expect(text).toMatch(/kubeproxy_conntrack_reconciler_deleted_entries_total\{ip_family="IPv4"\} 2/);
    expect(text).toMatch(/kubeproxy_conntrack_reconciler_sync_duration_seconds_count\{ip_family="IPv4"\} [1-9]/);
  });

  it.each([true, false])(
    'breaks off TCP connections to an endpoint that is gone where that is wanted: %s',
    async (resetTcp) => {
      const world = await startedWorld({ loop: { facts: { ...facts, resetTcp } } });
      const flow = (source: string, replySource: string) => ({
        protocol: 'TCP' as const,
        family: 'IPv4' as const,
        source,
        sourcePort: 4_000,
        destination: '172.30.0.80',
        destinationPort: 80,
        replySource,
        replySourcePort: 8080,
      });
      const sources = async (): Promise<string[]> =>
        (await world.conntrack.list('IPv4', 'TCP')).map((one) => `${one.source}>${one.replySource}`);
      world.services.put(service('ns/web', { clusterIP: '172.30.0.80' }));
      world.slices.put(slice('ns/web', ['10.1.0.1', '10.1.0.2']));
      await world.settle(1);
      world.conntrack.add(flow('10.1.0.50', '10.1.0.1'));
      world.conntrack.add(flow('10.1.0.51', '10.1.0.2'));
      // Not ready is not gone.
      world.slices.put(slice('ns/web', [there('10.1.0.1', { ready: false, serving: false }), '10.1.0.2']));
      await world.settle(1);
      expect(await sources()).toHaveLength(2);
      world.slices.put(slice('ns/web', ['10.1.0.2']));
      await world.settle(1);
      expect(await sources()).toEqual(resetTcp ? ['10.1.0.51>10.1.0.2'] : ['10.1.0.50>10.1.0.1', '10.1.0.51>10.1.0.2']);
      world.slices.put(slice('ns/web', []));
      await world.settle(1);
      expect(await sources()).toHaveLength(resetTcp ? 0 : 2);
    },
  );

  it('forgets flows that went stale while nobody watched', async () => {
    const ports = [{ name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 30_053 }];
    const services = new FakeView([service('ns/dns', { clusterIP: '172.30.0.53', type: 'NodePort', ports })]);
    const slices = new FakeView([
      slice('ns/dns', ['10.1.0.2'], { ports: [{ name: 'dns', protocol: 'UDP', port: 53 }] }),
    ]);
    const first = await makeWorld({ services, slices });
    const flow = (
      source: string,
      destination: string,
      destinationPort: number,
      replySource: string,
      replySourcePort = 53,
    ) =>
      first.conntrack.add({
        protocol: 'UDP',
        family: 'IPv4',
        source,
        sourcePort: 9,
        destination,
        destinationPort,
        replySource,
        replySourcePort,
      });
    flow('10.1.0.50', '172.30.0.53', 53, '10.1.0.1');
    flow('10.1.0.51', '172.30.0.53', 53, '10.1.0.2');
    flow('203.0.113.1', nodeIP, 30_053, '10.1.0.1');
    flow('203.0.113.2', nodeIP, 30_053, '10.1.0.2');
    flow('10.1.0.52', '8.8.8.8', 53, '8.8.8.8');
    flow('10.1.0.53', '8.8.8.8', 30_053, '8.8.8.8', 30_053);
    await first.loop.start();
    await first.settle(1);
    const left = (await first.conntrack.list('IPv4', 'UDP')).map((one) => one.source);
    expect(left).toEqual(['10.1.0.51', '203.0.113.2', '10.1.0.52', '10.1.0.53']);
  });
});
