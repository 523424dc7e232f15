import { describe, expect, it } from 'vitest';
import { FakeNftables } from '../../../../src/host/nftables/fake.ts';
import { FakeRuleWatch } from '../../../../src/host/rule-watch/fake.ts';
import { OwnWriters } from '../../../../src/host/rule-watch/own-writers.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { NftablesBackend } from '../../../../src/services/act/nftables-backend.ts';
import { service, slice } from '../support/objects.ts';
import { startedWorld, type World } from '../support/world.ts';

async function worldOn(
  kernel: FakeNftables,
  amount: number,
  options: Parameters<typeof startedWorld>[0] = {},
): Promise<World> {
  const world = await startedWorld({
    backend: new NftablesBackend({ nftables: kernel, log: silent, clock: new ManualClock(0) }),
    loop: { checkMs: 1_000 },
    ...options,
  });
  for (let index = 1; index <= amount; index++) {
    world.services.put(service(`ns/s${index}`, { clusterIP: `172.30.${index >> 8}.${index & 255}` }));
    world.slices.put(slice(`ns/s${index}`, ['10.1.0.1', '10.1.1.1']));
  }
  await world.settle(100);
  return world;
}

const listing = async (kernel: FakeNftables): Promise<string> => (await kernel.table('deckhand')) ?? '';

describe('foreign hands on our table', () => {
  it('a flush of everything is repaired within a second', async () => {
    const kernel = new FakeNftables();
    const world = await worldOn(kernel, 5);
    const before = await listing(kernel);
    kernel.flush();
    await world.settle(1_000);
    expect(await listing(kernel)).toBe(before);
    expect(await world.metrics.text()).toContain('deckhand_services_foreign_flushes_total{ip_family="IPv4"} 1');
  });

  it.each([
    ['a rule that is taken out', 'flush chain ip deckhand nat-prerouting\n', 1],
    ['any other one', 'flush chain ip deckhand masquerading\n', 1],
    ['a rule that is put in', 'add rule ip deckhand nat-prerouting drop\n', 20],
    ['a rule that is put into any other chain of the frame', 'add rule ip deckhand masquerading drop\n', 20],
  ])('%s', async (_what, edit, seconds) => {
    const kernel = new FakeNftables();
    const world = await worldOn(kernel, 5);
    const before = await listing(kernel);
    await kernel.apply(edit);
    expect(await listing(kernel)).not.toBe(before);
    for (let second = 0; second < seconds; second++) await world.settle(1_000);
    expect(await listing(kernel)).toBe(before);
  });

  it('is noticed after a restart, too, by the numbers that the rules had before', async () => {
    const kernel = new FakeNftables();
    await worldOn(kernel, 5);
    const world = await worldOn(kernel, 5);
    const before = await listing(kernel);
    await kernel.apply('flush chain ip deckhand masquerading\n');
    await world.settle(1_000);
    expect(await listing(kernel)).toBe(before);
  });

  it('looking writes nothing, and an idle minute does nothing else', async () => {
    const kernel = new FakeNftables();
    const world = await worldOn(kernel, 5);
    const { applied, listings } = kernel;
    await world.settle(60_000);
    expect([kernel.applied, kernel.listings]).toEqual([applied, listings]);
  });
});

describe('a watch on what others write', () => {
  async function watchedWorld() {
    const kernel = new FakeNftables();
    const watch = new FakeRuleWatch(new OwnWriters());
    const backend = new NftablesBackend({ nftables: kernel, log: silent, clock: new ManualClock(0), watch });
    const world = await worldOn(kernel, 5, { backend });
    watch.hears = true;
    return { kernel, watch, world, before: await listing(kernel) };
  }

  it('a flush is repaired as soon as it is told of, and the log says by whom it was', async () => {
    const { kernel, watch, world, before } = await watchedWorld();
    kernel.flush();
    watch.commit({ pid: 77, name: 'firewall' });
    await world.settle(1);
    expect(await listing(kernel)).toBe(before);
    expect(world.logged.find(({ level }) => level === 'warn')?.fields).toEqual({
      family: 'IPv4',
      by: { pid: 77, name: 'firewall' },
    });
  });

  it('a rule that is put in is found at once, too', async () => {
    const { kernel, watch, world, before } = await watchedWorld();
    await kernel.apply('add rule ip deckhand masquerading drop\n');
    watch.commit({ pid: 77, name: 'firewall' });
    await world.settle(1);
    // The first look reads one chain, to learn what it costs.
    watch.commit({ pid: 77, name: 'firewall' });
    await world.settle(1);
    expect(await listing(kernel)).toBe(before);
  });

  it('nobody looks for nothing: ten seconds cost one look, and changes none', async () => {
    const { kernel, world } = await watchedWorld();
    await world.settle(10_000);
    const { probes } = kernel;
    for (let turn = 0; turn < 9; turn++) {
      world.slices.put(slice('ns/s1', [`10.1.0.${10 + turn}`]));
      await world.settle(1_000);
    }
    expect(kernel.probes).toBe(probes);
    await world.settle(2_000);
    expect(kernel.probes).toBe(probes + 1);
  });

  it('a watch that ends is no reason to miss a flush', async () => {
    const { kernel, watch, world, before } = await watchedWorld();
    watch.fail();
    await world.settle(1);
    kernel.flush();
    await world.settle(1_000);
    expect(await listing(kernel)).toBe(before);
  });
});

describe('poison', () => {
  it('of 500 Services the kernel refuses 3: those are set aside, with an event each, and all others are there', async () => {
    const poison = ['172.30.0.7 ', '172.30.0.200 ', '172.30.1.100 '];
    const kernel = new FakeNftables({ refuses: (line) => poison.some((address) => line.includes(address)) });
    const told: string[] = [];
    const events = {
      event: (about: { name?: string }, _type: string, reason: string) => void told.push(`${reason} ${about.name}`),
    };
    const world = await worldOn(kernel, 500, { events });
    await world.settle(100);
    const names = ['s7', 's200', 's356'];
    expect(world.loop.status().families[0]?.setAside.map((one) => one.service)).toEqual(
      names.map((name) => `ns/${name}`),
    );
    expect(told).toEqual(names.map((name) => `FailedToWriteServiceRules ${name}`));
    const frontends = /map service-ips \{[\s\S]*?elements = \{([\s\S]*?)\}/.exec(await listing(kernel))?.[1] ?? '';
    expect(frontends.split(',')).toHaveLength(497);
    expect(await world.metrics.text()).toContain('deckhand_services_set_aside{ip_family="IPv4"} 3');
    // Found good after all, it comes back with its next change.
    poison.length = 0;
    world.services.put(service('ns/s7', { clusterIP: '172.30.0.7' }));
    await world.settle(100);
    expect(await listing(kernel)).toContain('172.30.0.7 ');
    expect(world.loop.status().families[0]?.setAside).toHaveLength(2);
    expect(told).toHaveLength(3);
  });
});

describe('metrics', () => {
  it('a sync that fails is counted under nftables', async () => {
    const kernel = new FakeNftables();
    const world = await worldOn(kernel, 1);
    kernel.failNext(new CodedError('CommandFailed', 'refused'));
    world.slices.put(slice('ns/s1', ['10.1.0.7']));
    await world.settle(100);
    const text = await world.metrics.text();
    expect(text).toContain('kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 1');
    expect(text).not.toContain('iptables_restore_failures_total{');
    expect(await listing(kernel)).toContain('10.1.0.7');
  });
});

describe('settled', () => {
  it('resolves when the kernel has what was seen, not before', async () => {
    const kernel = new FakeNftables();
    const world = await worldOn(kernel, 1);
    world.slices.put(slice('ns/s1', ['10.1.0.1']));
    let done = false;
    const waiting = world.loop.settled().then(() => {
      done = true;
    });
    await Promise.resolve();
    expect(done).toBe(false);
    await world.settle(1);
    await waiting;
    expect(await listing(kernel)).not.toContain('10.1.1.1');
    await world.loop.settled();
  });

  it('is given up when the signal says so, and when the loop ends', async () => {
    const kernel = new FakeNftables({ refuses: (line) => line.includes('10.1.0.9') });
    const world = await worldOn(kernel, 1);
    const patience = new AbortController();
    world.slices.put(slice('ns/s1', ['10.1.0.2']));
    const waiting = world.loop.settled(patience.signal);
    patience.abort(new Error('too late'));
    await expect(waiting).rejects.toThrow('too late');
    const last = world.loop.settled();
    await world.loop.close();
    await last;
  });
});
