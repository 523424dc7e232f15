import { describe, expect, it } from 'vitest';
import { here, service, slice, there } from '../support/objects.ts';
import { startedWorld, type World } from '../support/world.ts';
import { IpvsFakeKernel } from './ipvs-kernel.ts';

const vip = (index: number): string => `172.30.${index >> 8}.${index & 255}`;

async function worldOf(count: number): Promise<{ world: World; kernel: IpvsFakeKernel; written: () => string[] }> {
  const kernel = new IpvsFakeKernel();
  const world = await startedWorld({ backend: kernel.backend() });
  for (let index = 1; index <= count; index++) {
    const ports = [{ name: 'p80', port: 80, nodePort: 30_000 + index }];
    world.services.put(service(`ns/s${index}`, { clusterIP: vip(index), type: 'NodePort', ports }));
    world.slices.put(slice(`ns/s${index}`, [here(`10.1.${index >> 8}.${index & 255}`), there('10.1.200.5')]));
  }
  await world.settle(100);
  let before = [kernel.ipset.restores, kernel.ipvs.restores, kernel.device.changes, kernel.iptables.restores];
  const written = (): string[] => {
    const now = [kernel.ipset.restores, kernel.ipvs.restores, kernel.device.changes, kernel.iptables.restores];
    const changed = now.map((value, at) => value - (before[at] ?? 0));
    before = now;
    return [
      ...(changed[0] === 0 ? [] : [`ipset ×${changed[0]}: ${kernel.ipset.last}`]),
      ...(changed[1] === 0 ? [] : [`ipvsadm ×${changed[1]}: ${kernel.ipvs.last}`]),
      ...(changed[2] === 0 ? [] : [`ip ×${changed[2]}: ${kernel.device.last.join(' ')}\n`]),
      ...(changed[3] === 0 ? [] : [`iptables ×${changed[3]}`]),
    ];
  };
  return { world, kernel, written };
}

describe.each([10, 1000])('the price of one change with %i Services', (count) => {
  it('nothing changed: nothing is written', async () => {
    const { world, written } = await worldOf(count);
    world.services.put(...[...world.services.values()].slice(0, 5));
    world.slices.put(...[...world.slices.values()].slice(0, 5));
    await world.settle(100);
    expect(written()).toEqual([]);
  });

  it('an endpoint of another node comes: a line for each address of the Service', async () => {
    const { world, written } = await worldOf(count);
    world.slices.put(slice('ns/s5', [here('10.1.0.5'), there('10.1.200.5'), there('10.1.200.6')]));
    await world.settle(100);
    expect(written()).toEqual([
      'ipvsadm ×1: -a -t 172.30.0.5:80 -r 10.1.200.6:8080 -m -w 1\n-a -t 192.168.0.2:30005 -r 10.1.200.6:8080 -m -w 1\n',
    ]);
  });

  it('one of this node comes: it may be its own client, which is one line more', async () => {
    const { world, written } = await worldOf(count);
    world.slices.put(slice('ns/s5', [here('10.1.0.5'), there('10.1.200.5'), here('10.1.99.6')]));
    await world.settle(100);
    expect(written()).toEqual([
      'ipset ×1: add KUBE-LOOP-BACK 10.1.99.6,tcp:8080,10.1.99.6\n',
      'ipvsadm ×1: -a -t 172.30.0.5:80 -r 10.1.99.6:8080 -m -w 1\n-a -t 192.168.0.2:30005 -r 10.1.99.6:8080 -m -w 1\n',
    ]);
  });

  it('an endpoint goes: no new connections', async () => {
    const { world, written } = await worldOf(count);
    world.slices.put(slice('ns/s5', [here('10.1.0.5')]));
    await world.settle(100);
    expect(written()).toEqual([
      'ipvsadm ×1: -e -t 172.30.0.5:80 -r 10.1.200.5:8080 -m -w 0\n-e -t 192.168.0.2:30005 -r 10.1.200.5:8080 -m -w 0\n',
    ]);
  });

  it('a Service comes: its virtual server, a member, an address, and no iptables rule', async () => {
    const { world, written } = await worldOf(count);
    world.services.put(service('ns/s5b', { clusterIP: '172.31.0.1' }));
    world.slices.put(slice('ns/s5b', ['10.1.7.7']));
    await world.settle(100);
    expect(written()).toEqual([
      'ipset ×1: add KUBE-CLUSTER-IP 172.31.0.1,tcp:80\nadd KUBE-IPVS-IPS 172.31.0.1\n',
      'ipvsadm ×1: -A -t 172.31.0.1:80 -s rr\n-a -t 172.31.0.1:80 -r 10.1.7.7:8080 -m -w 1\n',
      'ip ×1: +172.31.0.1\n',
    ]);
  });

  it('a Service goes with everything of its own', async () => {
    const { world, kernel, written } = await worldOf(count);
    world.services.delete('ns/s5');
    world.slices.delete('ns/s5-x');
    await world.settle(100);
    expect(written()).toEqual([
      'ipset ×1: del KUBE-IPVS-IPS 172.30.0.5\ndel KUBE-NODE-PORT-TCP 30005\ndel KUBE-CLUSTER-IP 172.30.0.5,tcp:80\ndel KUBE-LOOP-BACK 10.1.0.5,tcp:8080,10.1.0.5\n',
      'ipvsadm ×1: -D -t 172.30.0.5:80\n-D -t 192.168.0.2:30005\n',
      'ip ×1: -172.30.0.5\n',
    ]);
    expect((await kernel.content()).filter((line) => /172\.30\.0\.5\b|30005/.test(line))).toEqual([]);
  });
});
