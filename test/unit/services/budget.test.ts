import { describe, expect, it } from 'vitest';
import { FakeIptables } from '../../../src/host/iptables/fake.ts';
import { nodeIP, service, slice } from './support/objects.ts';
import { startedWorld, type World } from './support/world.ts';

/** Records what is sent; the kernel behind it is the real fake. */
class WatchedIptables extends FakeIptables {
  sent: string[] = [];

  override async restore(text: string): Promise<void> {
    this.sent.push(text);
    await super.restore(text);
  }

  take(): string[] {
    return this.sent.splice(0);
  }
}

const vip = (index: number): string => `172.30.${index >> 8}.${index & 255}`;

async function worldOf(count: number): Promise<World & { kernel: WatchedIptables }> {
  const kernel = new WatchedIptables({ localAddresses: [nodeIP] });
  const world = await startedWorld({ kernel });
  for (let index = 1; index <= count; index++) {
    const ports = [{ name: 'p80', port: 80, nodePort: 30_000 + index }];
    world.services.put(service(`ns/s${index}`, { clusterIP: vip(index), type: 'NodePort', ports }));
    world.slices.put(slice(`ns/s${index}`, [`10.1.0.${index % 250}`, `10.1.1.${index % 250}`]));
  }
  await world.settle(50);
  kernel.take();
  return Object.assign(world, { kernel });
}

const commands = (text: string): string[] =>
  text
    .trimEnd()
    .split('\n')
    .filter((line) => !/^(\*|COMMIT)/.test(line));

describe.each([10, 1000])('the price of one change with %i Services', (count) => {
  it('nothing changed: nothing is written', async () => {
    const world = await worldOf(count);
    world.services.put(...[...world.services.values()].slice(0, 5));
    world.slices.put(...[...world.slices.values()].slice(0, 5));
    await world.settle(50);
    expect(world.kernel.take()).toEqual([]);
  });

  it('an endpoint comes: its chain and those of its Service port, nothing shared', async () => {
    const world = await worldOf(count);
    world.slices.put(slice('ns/s5', ['10.1.0.5', '10.1.1.5', '10.1.2.5']));
    await world.settle(50);
    const [text = '', ...more] = world.kernel.take();
    expect(more).toEqual([]);
    expect(text).not.toMatch(/KUBE-SERVICES|KUBE-NODEPORTS|\*filter/);
    expect(text.match(/^:\S+/gm)).toHaveLength(2);
    // Two chains declared, two rules for the endpoint, one for the mark and three for the spread.
    expect(commands(text)).toHaveLength(8);
  });

  it('an endpoint goes', async () => {
    const world = await worldOf(count);
    world.slices.put(slice('ns/s5', ['10.1.0.5']));
    await world.settle(50);
    const [text = '', ...more] = world.kernel.take();
    expect(more).toEqual([]);
    expect(text).not.toMatch(/KUBE-SERVICES|KUBE-NODEPORTS|\*filter/);
    expect(text.match(/^-X KUBE-SEP-/gm)).toHaveLength(1);
    expect(commands(text)).toHaveLength(5);
  });

  it('one endpoint takes the place of another', async () => {
    const world = await worldOf(count);
    world.slices.put(slice('ns/s5', ['10.1.0.5', '10.1.9.5']));
    await world.settle(50);
    const [text = ''] = world.kernel.take();
    expect(commands(text)).toHaveLength(9);
  });

  it('a Service comes: single rules in the shared chains', async () => {
    const world = await worldOf(count);
    world.services.put(service('ns/s5b', { clusterIP: '172.31.0.1' }));
    world.slices.put(slice('ns/s5b', ['10.1.7.7']));
    await world.settle(50);
    const [text = '', ...more] = world.kernel.take();
    expect(more).toEqual([]);
    expect(text.match(/KUBE-SERVICES/g)).toHaveLength(1);
    expect(text).toMatch(/^-I KUBE-SERVICES \d+ -d 172\.31\.0\.1\/32 /m);
    expect(commands(text)).toHaveLength(7);
  });

  it('the last endpoint goes: two shared rules out and two in, all in one batch', async () => {
    const world = await worldOf(count);
    world.slices.delete('ns/s5-x');
    await world.settle(50);
    const [text = '', ...more] = world.kernel.take();
    expect(more).toEqual([]);
    expect(text.match(/^-D /gm)).toHaveLength(2);
    expect(text.match(/^-I /gm)).toHaveLength(2);
    expect(text.match(/^-X /gm)).toHaveLength(4);
    expect(commands(text)).toHaveLength(12);
  });

  it('a Service goes with everything of its own', async () => {
    const world = await worldOf(count);
    world.services.delete('ns/s5');
    world.slices.delete('ns/s5-x');
    await world.settle(50);
    const [text = '', ...more] = world.kernel.take();
    expect(more).toEqual([]);
    expect(commands(text)).toHaveLength(10);
    expect(await world.kernel.save()).not.toContain('ns/s5:');
  });
});
