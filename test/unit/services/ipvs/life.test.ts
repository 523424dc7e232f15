import { describe, expect, it } from 'vitest';
import { silent } from '../../../../src/kit/log.ts';
import { IptablesBackend } from '../../../../src/services/act/iptables-backend.ts';
import { ServiceInspector } from '../../../../src/services/explain/service-inspector.ts';
import type { ProxyBackend } from '../../../../src/services/port.ts';
import { here, nodeIP, service, slice, there } from '../support/objects.ts';
import { startedWorld, type World } from '../support/world.ts';
import { IpvsFakeKernel } from './ipvs-kernel.ts';

type Options = Parameters<typeof startedWorld>[0];

async function worldOn(
  kernel: IpvsFakeKernel,
  options: Options = {},
  backend: ProxyBackend = kernel.backend(),
): Promise<World> {
  const world = await startedWorld({ backend, loop: { checkMs: 1_000 }, ...options });
  const ports = [{ name: 'p80', port: 80, nodePort: 30_080 }];
  world.services.put(service('ns/web', { clusterIP: '172.30.0.1', type: 'NodePort', ports }));
  world.slices.put(slice('ns/web', [here('10.1.0.1'), there('10.1.1.1')]));
  await world.settle(100);
  return world;
}

const web = '-t 172.30.0.1:80';
const atNode = `-t ${nodeIP}:30080`;

async function servers(kernel: IpvsFakeKernel, id: string): Promise<string[]> {
  return (await kernel.ipvs.save()).split('\n').filter((line) => line.includes(` ${id} `));
}

describe('real servers that go', () => {
  it('of TCP: nothing new, and gone once their last connection is over', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    kernel.ipvs.connect(web, '10.1.1.1:8080', 3);
    world.slices.put(slice('ns/web', [here('10.1.0.1')]));
    await world.settle(5_000);
    expect(await servers(kernel, web)).toContain(`-a ${web} -r 10.1.1.1:8080 -m -w 0`);
    expect((await servers(kernel, atNode)).join()).not.toContain('10.1.1.1');
    kernel.ipvs.connect(web, '10.1.1.1:8080', 0);
    await world.settle(2_000);
    expect((await servers(kernel, web)).join()).not.toContain('10.1.1.1');
  });

  it('of TCP: come back while they wait', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    kernel.ipvs.connect(web, '10.1.1.1:8080', 3);
    world.slices.put(slice('ns/web', [here('10.1.0.1')]));
    await world.settle(2_000);
    world.slices.put(slice('ns/web', [here('10.1.0.1'), there('10.1.1.1')]));
    await world.settle(2_000);
    expect(await servers(kernel, web)).toContain(`-a ${web} -r 10.1.1.1:8080 -m -w 1`);
    expect((await kernel.ipvs.connections()).find((one) => one.real === '10.1.1.1:8080')?.connections).toBe(3);
  });

  it('of UDP: at once', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    const udp = [{ name: 'dns', protocol: 'UDP' as const, port: 53 }];
    world.services.put(service('ns/dns', { clusterIP: '172.30.0.2', ports: udp }));
    world.slices.put(slice('ns/dns', [there('10.1.1.1'), there('10.1.1.2')], { ports: udp }));
    await world.settle(100);
    world.slices.put(slice('ns/dns', [there('10.1.1.1')], { ports: udp }));
    await world.settle(100);
    expect(kernel.ipvs.last).toBe('-d -u 172.30.0.2:53 -r 10.1.1.2:53\n');
  });

  it('are known again after a restart', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    kernel.ipvs.connect(web, '10.1.1.1:8080', 3);
    world.slices.put(slice('ns/web', [here('10.1.0.1')]));
    await world.settle(2_000);
    await world.loop.close();
    const { writes } = kernel;
    const { services, slices } = world;
    const again = await startedWorld({ backend: kernel.backend(), loop: { checkMs: 1_000 }, services, slices });
    await again.settle(2_000);
    expect(kernel.writes).toBe(writes);
    kernel.ipvs.connect(web, '10.1.1.1:8080', 0);
    await again.settle(2_000);
    expect((await servers(kernel, web)).join()).not.toContain('10.1.1.1');
  });
});

describe('foreign hands', () => {
  it.each(['ipvsadm -C', 'ipset flush', 'iptables -F', 'ip link del', 'ipvsadm -d', 'ip address del'])(
    '%s is repaired within two seconds',
    async (what) => {
      const kernel = new IpvsFakeKernel();
      const world = await worldOn(kernel);
      const { ipvs, ipset, iptables, device } = kernel;
      await world.settle(2_000);
      const before = await kernel.content();
      if (what === 'ipvsadm -C') ipvs.flush();
      if (what === 'ipset flush') ipset.flush();
      if (what === 'iptables -F') iptables.flush();
      if (what === 'ip link del') await device.remove();
      if (what === 'ipvsadm -d') await ipvs.restore(`-d ${web} -r 10.1.1.1:8080\n`);
      if (what === 'ip address del') await device.change([], ['172.30.0.1']);
      expect(await kernel.content()).not.toEqual(before);
      await world.settle(1_000);
      await world.settle(1_000);
      expect(await kernel.content()).toEqual(before);
    },
  );
});

describe('two Services that want one virtual server', () => {
  const rival = service('ns/rival', {
    clusterIP: '172.30.0.3',
    externalIPs: [nodeIP],
    ports: [{ name: 'p', port: 30_080 }],
  });
  const its = slice('ns/rival', ['10.1.9.9'], { ports: [{ name: 'p', port: 8080 }] });

  it('the one whose name comes first has it, whoever came first; the other one afterwards', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    const ends = async (): Promise<string[]> =>
      (await servers(kernel, atNode)).flatMap((line) => / -r (\S+) .*-w 1$/.exec(line)?.[1] ?? []).sort();
    expect(await ends()).toEqual(['10.1.0.1:8080', '10.1.1.1:8080']);
    world.services.put(rival);
    world.slices.put(its);
    await world.settle(100);
    expect(await ends()).toEqual(['10.1.9.9:8080']);
    world.slices.put(slice('ns/web', [here('10.1.0.7')]));
    await world.settle(100);
    expect(await ends()).toEqual(['10.1.9.9:8080']);
    world.services.delete('ns/rival');
    await world.settle(100);
    expect(await ends()).toEqual(['10.1.0.7:8080']);
  });
});

describe('others’ virtual servers', () => {
  it('stay where excludeCIDRs says so, and go elsewhere, as with kube-proxy', async () => {
    const kernel = new IpvsFakeKernel();
    await kernel.ipvs.restore('-A -t 10.99.0.1:80 -s rr\n-A -t 10.98.0.1:80 -s rr\n-A -t [fd00:5::1]:80 -s rr\n');
    const world = await worldOn(kernel, {}, kernel.backend({ excludeCIDRs: ['10.99.0.0/16'] }));
    const saved = await kernel.ipvs.save();
    expect(saved).toContain('10.99.0.1');
    expect(saved).toContain('fd00:5::1');
    expect(saved).not.toContain('10.98.0.1');
    await world.loop.cleanup();
    expect(await kernel.ipvs.save()).toBe('-A -t 10.99.0.1:80 -s rr\n-A -t [fd00:5::1]:80 -s rr\n');
  });

  it('but a Service at such an address is served all the same', async () => {
    const kernel = new IpvsFakeKernel();
    await kernel.ipvs.restore('-A -t 172.30.0.99:80 -s rr\n');
    const options = { excludeCIDRs: ['172.30.0.0/16'] };
    const world = await worldOn(kernel, {}, kernel.backend(options));
    expect(await servers(kernel, web)).toHaveLength(3);
    const { writes } = kernel;
    await world.settle(5_000);
    await world.loop.close();
    const { services, slices } = world;
    const again = await startedWorld({ backend: kernel.backend(options), services, slices });
    await again.settle(5_000);
    expect([kernel.writes, again.loop.status().families[0]?.setAside]).toEqual([writes, []]);
    expect(await servers(kernel, '-t 172.30.0.99:80')).toHaveLength(1);
  });

  it('stay at a clean-up that knows of no settings', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    await world.loop.close();
    await kernel.ipvs.restore('-A -t 10.98.0.1:80 -s rr\n');
    await kernel.backend().cleanup();
    expect(await kernel.ipvs.save()).toBe('-A -t 10.98.0.1:80 -s rr\n');
    expect(await kernel.ipset.save()).toBe('');
    expect(await kernel.device.read()).toBeUndefined();
  });

  it('the device and its addresses stay for the other family', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    await kernel.device.change(['fd00:96::1'], []);
    await world.loop.cleanup();
    expect((await kernel.device.read())?.addresses).toEqual({ IPv4: [], IPv6: ['fd00:96::1'] });
  });
});

describe('what kube-proxy has left', () => {
  it('is taken over: its sets are exchanged for larger ones that are filled already', async () => {
    const kernel = new IpvsFakeKernel();
    await kernel.device.ensure('');
    await kernel.ipset.restore(
      'create DECKHAND-SPARE hash:ip family inet\ncreate KUBE-CLUSTER-IP hash:ip,port family inet maxelem 65536\n' +
        'add KUBE-CLUSTER-IP 172.30.0.1,tcp:80\nadd KUBE-CLUSTER-IP 172.30.0.9,tcp:80\n',
    );
    const fresh = new IpvsFakeKernel();
    const world = await worldOn(fresh);
    const { services, slices } = world;
    const texts: string[] = [];
    const { ipset } = kernel;
    const restore = ipset.restore.bind(ipset);
    ipset.restore = async (text) => {
      texts.push(text);
      await restore(text);
    };
    await startedWorld({ backend: kernel.backend(), services, slices });
    expect(texts[0]).toContain(
      'add DECKHAND-SPARE 172.30.0.1,tcp:80\nswap DECKHAND-SPARE KUBE-CLUSTER-IP\ndestroy DECKHAND-SPARE\n',
    );
    expect(texts).toHaveLength(1);
    expect(await kernel.content()).toEqual(await fresh.content());
  });
});

describe('settings', () => {
  it('another scheduler changes the virtual servers where they stand', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    await world.loop.close();
    const { services, slices } = world;
    await startedWorld({ backend: kernel.backend({ scheduler: 'lc' }), services, slices });
    expect(kernel.ipvs.last).toBe(`-E ${web} -s lc\n-E ${atNode} -s lc\n`);
  });

  it('node ports follow the addresses of the node', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    world.net.addresses = ['127.0.0.1', '192.168.0.3', 'fe80::1'];
    await world.settle(2_000);
    expect(await servers(kernel, atNode)).toEqual([]);
    expect(await servers(kernel, '-t 192.168.0.3:30080')).toHaveLength(3);
  });
});

describe('poison', () => {
  it('of 300 Services the kernel refuses 2: those are set aside, all others are there', async () => {
    const refuses = (line: string): boolean => / -t 172\.30\.0\.(7|200):80/.test(line);
    const kernel = new IpvsFakeKernel({ refuses });
    const world = await startedWorld({ backend: kernel.backend() });
    for (let index = 1; index <= 300; index++) {
      world.services.put(service(`ns/s${index}`, { clusterIP: `172.30.${index >> 8}.${index & 255}` }));
      world.slices.put(slice(`ns/s${index}`, ['10.1.0.1']));
    }
    await world.settle(200);
    expect(world.loop.status().families[0]?.setAside.map(({ service: name }) => name)).toEqual(['ns/s7', 'ns/s200']);
    expect((await kernel.ipvs.save()).match(/^-A /gm)).toHaveLength(298);
    expect((await kernel.device.read())?.addresses.IPv4).toHaveLength(298);
  });
});

describe('moving from and to iptables mode', () => {
  it('to ipvs: virtual servers and addresses stand before the rules change, which they do in one transaction', async () => {
    const kernel = new IpvsFakeKernel();
    const { iptables } = kernel;
    const before = await worldOn(kernel, {}, new IptablesBackend({ iptables, log: silent }));
    await before.loop.close();
    expect(await iptables.save()).toContain('KUBE-SVC-');
    const steps: string[] = [];
    const note = <T extends object>(name: string, port: T, methods: readonly (keyof T)[]): T =>
      new Proxy(port, {
        get: (target, key) => {
          const value = Reflect.get(target, key, target);
          if (typeof value !== 'function') return value;
          return (...args: unknown[]) => {
            if (methods.includes(key as keyof T)) steps.push(name);
            return Reflect.apply(value, target, args);
          };
        },
      });
    const noted = new IpvsFakeKernel();
    Object.assign(noted, {
      iptables: note('iptables', iptables, ['restore']),
      ipvs: note('ipvsadm', kernel.ipvs, ['restore']),
      ipset: note('ipset', kernel.ipset, ['restore']),
      device: note('addresses', kernel.device, ['change']),
    });
    const { services, slices } = before;
    await startedWorld({ backend: noted.backend(), services, slices });
    // The second transaction takes away what nothing leads to any more.
    expect(steps).toEqual(['ipset', 'ipvsadm', 'addresses', 'iptables', 'iptables']);
    const fresh = new IpvsFakeKernel();
    await startedWorld({ backend: fresh.backend(), services, slices });
    expect(await kernel.content()).toEqual(await fresh.content());
  });

  it('back to iptables: its rules come, then all of IPVS goes, and nothing is left', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    await world.loop.close();
    const { iptables } = kernel;
    const { services, slices } = world;
    await startedWorld({ backend: new IptablesBackend({ iptables, log: silent }), services, slices });
    await kernel.backend().cleanup(true);
    const fresh = new IpvsFakeKernel();
    await startedWorld({
      backend: new IptablesBackend({ iptables: fresh.iptables, log: silent }),
      services,
      slices,
    });
    expect(await kernel.content()).toEqual(await fresh.content());
  });
});

describe('plan', () => {
  it('says in the words of the tools what would be written, and writes nothing', async () => {
    const kernel = new IpvsFakeKernel();
    const world = await worldOn(kernel);
    await kernel.ipvs.restore(`-d ${web} -r 10.1.1.1:8080\n`);
    await kernel.device.change([], ['172.30.0.1']);
    const { writes } = kernel;
    expect(await kernel.backend().plan(world.loop.wanted('IPv4'))).toEqual([
      `# ipvsadm -R\n-a ${web} -r 10.1.1.1:8080 -m -w 1\n`,
      '# ip -batch -\naddress add 172.30.0.1 dev kube-ipvs0\n',
    ]);
    expect(kernel.writes).toBe(writes);
    await world.settle(2_000);
    expect(await kernel.backend().plan(world.loop.wanted('IPv4'))).toEqual([]);
  });
});

describe('explain', () => {
  it('says where packets go in this mode, and what the kernel lacks', async () => {
    const kernel = new IpvsFakeKernel();
    const backend = kernel.backend();
    const world = await worldOn(kernel, {}, backend);
    const inspector = new ServiceInspector({ loop: world.loop, backends: [backend], net: world.net });
    const ports = [{ name: 'p80', port: 80, nodePort: 30_080 }];
    const spec = { clusterIP: '172.30.0.1', type: 'NodePort' as const, ports, externalTrafficPolicy: 'Local' as const };
    world.services.put(service('ns/web', spec));
    await world.settle(100);
    const to = { address: nodeIP, port: 30_080, protocol: 'TCP' as const };
    const [one] = await inspector.explain('ns/web', { from: '10.1.0.9', to });
    // Other modes let pods go to any endpoint.
    expect(one?.packets[0]).toMatchObject({
      verdict: 'forward',
      endpoints: [{ endpoint: '10.1.0.1:8080', masqueraded: false }],
    });
    expect(one?.unwritten).toEqual([]);
    await kernel.ipvs.restore(`-d ${web} -r 10.1.1.1:8080\n`);
    await kernel.device.change([], ['172.30.0.1']);
    await kernel.ipset.restore('del KUBE-NODE-PORT-LOCAL-TCP 30080\n');
    const [again] = await inspector.explain('ns/web', {});
    expect(again?.unwritten).toEqual([
      'add KUBE-NODE-PORT-LOCAL-TCP 30080',
      `-a ${web} -r 10.1.1.1:8080 -m -w 1`,
      'address add 172.30.0.1 dev kube-ipvs0',
    ]);
  });
});
