import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeIptables } from '../../src/host/iptables/fake.ts';
import type { IptablesPort } from '../../src/host/iptables/port.ts';
import { openIptables } from '../../src/host/iptables/real.ts';
import { silent } from '../../src/kit/log.ts';
import { ManualClock } from '../../src/kit/manual-clock.ts';
import type { IPFamily } from '../../src/model/service.ts';
import { IptablesBackend } from '../../src/services/act/iptables-backend.ts';
import { removeUtilChains, UtilChains } from '../../src/services/act/util-chains.ts';
import { base } from '../unit/services/support/objects.ts';

const kinds = (['fake', 'nft', 'legacy'] as const).flatMap((kind) =>
  (['IPv4', 'IPv6'] as const).map((family) => ({ kind, family })),
);

/** kubelet's chains, against the same packet filters as the rules of Services. */
describe.each(kinds)('the chains that kubelet keeps: $kind, $family', ({ kind, family }) => {
  const maybe = kind !== 'fake' && process.getuid?.() !== 0 ? it.skip : it;
  const netns = `dhutil-${process.pid}-${kind}-${family}`;
  const clock = new ManualClock();
  let iptables: IptablesPort;

  beforeAll(async () => {
    if (kind === 'fake') {
      iptables = new FakeIptables({ family });
      return;
    }
    if (process.getuid?.() !== 0) return;
    execFileSync('ip', ['netns', 'add', netns]);
    const prefix = ['nsenter', `--net=/run/netns/${netns}`];
    const opened = await openIptables({ family, flavour: kind, prefix });
    if (opened === undefined) throw new Error(`${kind} ${family} is not to be had here`);
    iptables = opened;
  });
  afterAll(() => {
    if (iptables !== undefined && kind !== 'fake') execFileSync('ip', ['netns', 'del', netns]);
  });

  /** All lines of chains and rules of KUBE-, in one order. */
  const content = async (): Promise<readonly string[]> => {
    const found: string[] = [];
    for (const table of ['mangle', 'nat', 'filter']) {
      const lines = (await iptables.save(table)).split('\n').filter((line) => /^[:-].*KUBE-/.test(line));
      found.push(...lines.map((line) => `${table} ${line.replace(/ \[\d+:\d+\]/, '')}`));
    }
    return found.sort();
  };
  const OURS = 'mangle -A KUBE-KUBELET-CANARY -m comment --comment "deckhand keeps the chains of kubelet"';
  const LOCALNET =
    'filter -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP';
  const wanted = (of: IPFamily): readonly string[] =>
    [
      'mangle :KUBE-IPTABLES-HINT -',
      'mangle :KUBE-KUBELET-CANARY -',
      'nat :KUBE-KUBELET-CANARY -',
      'filter :KUBE-KUBELET-CANARY -',
      OURS,
      ...(of === 'IPv4'
        ? ['filter :KUBE-FIREWALL -', 'filter -A INPUT -j KUBE-FIREWALL', 'filter -A OUTPUT -j KUBE-FIREWALL', LOCALNET]
        : []),
    ].sort();

  maybe('are made, left alone, and back a minute after somebody took them', async () => {
    const chains = new UtilChains({ iptables, clock, log: silent });
    await chains.start();
    expect(await content()).toEqual(wanted(family));
    await iptables.restore('*mangle\n:KUBE-IPTABLES-HINT - [0:0]\n-X KUBE-IPTABLES-HINT\nCOMMIT\n');
    if (family === 'IPv4') await iptables.restore('*filter\n-D INPUT -j KUBE-FIREWALL\nCOMMIT\n');
    await clock.advance(59_999);
    expect(await content()).not.toEqual(wanted(family));
    await clock.advance(1);
    await chains.close();
    expect(await content()).toEqual(wanted(family));
    await clock.advance(60_000);
    expect(await content()).toEqual(wanted(family));
  });

  maybe('stay when the rules of Services go, which have the firewall in common', async () => {
    const backend = new IptablesBackend({ iptables, log: silent });
    await backend.sync({ base: { ...base, family, localhostNodePorts: true }, services: new Map(), complete: true });
    expect((await content()).length).toBeGreaterThan(wanted(family).length);
    expect(await backend.intact()).toBe(true);
    await new IptablesBackend({ iptables, log: silent }).cleanup();
    expect(await content()).toEqual(wanted(family));
  });

  maybe('go on request, unless kubelet made them', async () => {
    expect(await removeUtilChains(iptables)).toBe(true);
    expect(await content()).toEqual([]);
    expect(await removeUtilChains(iptables)).toBe(false);
    await iptables.restore(
      '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n*filter\n:KUBE-FIREWALL - [0:0]\n-A KUBE-FIREWALL -j RETURN\nCOMMIT\n',
    );
    const kubelets = await content();
    expect(await removeUtilChains(iptables)).toBe(false);
    expect(await content()).toEqual(kubelets);
    const chains = new UtilChains({ iptables, clock, log: silent });
    await chains.start();
    await chains.close();
    // What others put into the firewall is theirs.
    expect(await content()).toEqual([...new Set([...kubelets, ...wanted(family)])].sort());
  });
});
