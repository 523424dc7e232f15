import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeIpset } from '../../src/host/ipset/fake.ts';
import type { IpsetPort } from '../../src/host/ipset/port.ts';
import { RealIpset } from '../../src/host/ipset/real.ts';
import { FakeIptables } from '../../src/host/iptables/fake.ts';
import type { IptablesPort } from '../../src/host/iptables/port.ts';
import { openIptables } from '../../src/host/iptables/real.ts';
import { CodedError, hasCode } from '../../src/kit/errors.ts';
import { parseKernelBelief } from '../../src/services/delta/iptables/kernel-belief.ts';
import { TransactionBuilder } from '../../src/services/delta/iptables/transaction.ts';
import { parseSets } from '../../src/services/delta/ipvs/kernel-state.ts';
import { dispatchChains } from '../../src/services/render/iptables/chains.ts';
import { isManagedChain } from '../../src/services/render/ipvs/chains.ts';
import { renderIpvsBase } from '../../src/services/render/ipvs/render-base.ts';
import { setDefinitions } from '../../src/services/render/ipvs/sets.ts';
import { base } from '../unit/services/support/objects.ts';

const isRoot = process.getuid?.() === 0;

interface Opened {
  readonly ipset: IpsetPort;
  readonly iptables: (family: 'IPv4' | 'IPv6') => Promise<IptablesPort>;
  close(): void;
}

interface Subject {
  readonly name: string;
  readonly needsRoot: boolean;
  open(): Promise<Opened>;
}

let namespaces = 0;

function real(flavour: 'nft' | 'legacy'): Subject {
  return {
    name: `real, with iptables ${flavour}`,
    needsRoot: true,
    async open() {
      const name = `dhset-ct-${process.pid}-${namespaces++}`;
      execFileSync('ip', ['netns', 'add', name]);
      const prefix = ['nsenter', `--net=/run/netns/${name}`];
      return {
        ipset: new RealIpset({ prefix }),
        iptables: async (family) => {
          const port = await openIptables({ family, flavour, prefix });
          if (port === undefined) throw new Error(`no iptables-${flavour} for ${family}`);
          return port;
        },
        close: () => void execFileSync('ip', ['netns', 'del', name]),
      };
    },
  };
}

const fake: Subject = {
  name: 'fake',
  needsRoot: false,
  async open() {
    const ipset = new FakeIpset();
    const tables = new Map<string, FakeIptables>();
    ipset.inUse = () => new Set([...tables.values()].flatMap((one) => [...one.setsInUse()]));
    return {
      ipset,
      iptables: async (family) => {
        const one = tables.get(family) ?? new FakeIptables({ family, sets: () => ipset.names });
        tables.set(family, one);
        return one;
      },
      close: () => {},
    };
  },
};

const text = (...lines: readonly string[]): string => `${lines.join('\n')}\n`;
const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe.each([fake, real('nft'), real('legacy')])('ipset contract: $name', (subject) => {
  const maybe = subject.needsRoot && !isRoot ? it.skip : it;
  let opened: Opened;

  beforeAll(async () => {
    if (subject.needsRoot && !isRoot) return;
    opened = await subject.open();
  });
  afterAll(() => opened?.close());

  const members = async (name: string): Promise<string[]> => {
    const { sets } = parseSets(await opened.ipset.save(), (one) => one === name);
    return [...(sets.get(name) ?? [])].sort();
  };

  maybe('makes the sets of both families, and finds them as they were made', async () => {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const wanted = setDefinitions(family);
      await opened.ipset.restore(text(...[...wanted].map(([name, definition]) => `create ${name} ${definition}`)));
      const { definitions } = parseSets(await opened.ipset.save(), (name) => wanted.has(name));
      expect([...definitions].sort()).toEqual([...wanted].sort());
      await opened.ipset.destroy([...wanted.keys()]);
    }
    expect(await opened.ipset.save()).toBe('');
  });

  maybe.each([
    ['hash:ip family inet', ['10.0.0.1', '10.0.0.2']],
    ['hash:ip,port family inet', ['10.0.0.1,tcp:80', '10.0.0.1,udp:80', '10.0.0.1,sctp:80']],
    ['hash:ip,port family inet6', ['fd00::1,tcp:80', 'fd00::1:0:1,udp:53']],
    ['hash:ip,port,ip family inet', ['10.0.0.1,tcp:80,10.0.0.1']],
    ['hash:ip,port,net family inet', ['10.0.0.1,tcp:80,10.0.0.0/8', '10.0.0.1,tcp:80,192.0.2.1']],
    ['hash:ip,port,net family inet6', ['fd00::1,tcp:80,2001:db8::/32', 'fd00::1,tcp:80,2001:db8::5']],
    ['bitmap:port range 0-65535', ['0', '30000', '65535']],
  ])('prints members of %s as they were given', async (definition, given) => {
    await opened.ipset.restore(text(`create KUBE-A ${definition}`, ...given.map((one) => `add KUBE-A ${one}`)));
    expect(await members('KUBE-A')).toEqual([...given].sort());
    expect(await opened.ipset.sizes()).toEqual(new Map([['KUBE-A', given.length]]));
    await opened.ipset.restore(text(`del KUBE-A ${given[0]}`));
    expect(await members('KUBE-A')).toEqual(given.slice(1).sort());
    await opened.ipset.destroy(['KUBE-A']);
  });

  maybe.each([
    ['a member that is there', 'add KUBE-A 10.0.0.1,tcp:80'],
    ['taking out what is not in', 'del KUBE-A 10.0.0.9,tcp:80'],
    ['a set that is not there', 'add KUBE-NOWHERE 10.0.0.1,tcp:80'],
    ['a set that is there', 'create KUBE-A hash:ip,port family inet maxelem 7'],
    ['a member of another type', 'add KUBE-A 10.0.0.2'],
    ['a member of another family', 'add KUBE-A fd00::1,tcp:80'],
    ['a port that is none', 'add KUBE-A 10.0.0.2,tcp:70000'],
    ['a name of 32 characters', `create KUBE-${'A'.repeat(27)} hash:ip family inet`],
    ['one member too many', 'add KUBE-A 10.0.0.7,tcp:80'],
  ])('refuses %s, and has done nothing after it', async (_what, line) => {
    await opened.ipset.restore(text('create KUBE-A hash:ip,port family inet maxelem 2', 'add KUBE-A 10.0.0.1,tcp:80'));
    const error = await refusal(
      opened.ipset.restore(text('add KUBE-A 10.0.0.3,tcp:80', line, 'del KUBE-A 10.0.0.3,tcp:80')),
    );
    expect(error).toMatchObject({ code: 'CommandFailed' });
    // The tool does not name the line of a wrong port.
    if (error instanceof CodedError) expect(error.metadata['line'] ?? 2).toBe(2);
    // Lines before it may have been done or not: the tool gives the kernel several at a time.
    expect((await members('KUBE-A')).filter((one) => one !== '10.0.0.3,tcp:80')).toEqual(['10.0.0.1,tcp:80']);
    await opened.ipset.destroy(['KUBE-A']);
  });

  maybe('exchanges two sets although a rule looks into one', async () => {
    const { ipset } = opened;
    const iptables = await opened.iptables('IPv4');
    await ipset.restore(text('create KUBE-A hash:ip family inet maxelem 5', 'add KUBE-A 10.0.0.1'));
    await iptables.restore(
      text('*nat', ':KUBE-A - [0:0]', '-A KUBE-A -m set --match-set KUBE-A dst -j RETURN', 'COMMIT'),
    );
    await ipset.restore(text('create KUBE-B hash:ip family inet maxelem 9', 'swap KUBE-B KUBE-A', 'destroy KUBE-B'));
    expect(await members('KUBE-A')).toEqual([]);
    expect(hasCode(await refusal(ipset.restore('destroy KUBE-A\n')), 'CommandFailed')).toBe(true);
    await iptables.restore(text('*nat', ':KUBE-A - [0:0]', '-X KUBE-A', 'COMMIT'));
    await ipset.destroy(['KUBE-A']);
    expect(await ipset.save()).toBe('');
  });

  maybe('a rule needs its set', async () => {
    const iptables = await opened.iptables('IPv4');
    const rules = text('*nat', ':KUBE-A - [0:0]', '-A KUBE-A -m set --match-set KUBE-NO dst -j RETURN', 'COMMIT');
    expect(await refusal(iptables.restore(rules))).toMatchObject({ code: 'CommandFailed' });
    expect(await iptables.list('nat', 'KUBE-A')).toBeUndefined();
  });

  maybe.each(['IPv4', 'IPv6'] as const)('the rules around IPVS read back word for word, %s', async (family) => {
    const { ipset } = opened;
    const iptables = await opened.iptables(family);
    const sets = setDefinitions(family);
    await ipset.restore(text(...[...sets].map(([name, definition]) => `create ${name} ${definition}`)));
    const detectors = [
      base.localDetector,
      { kind: 'none' as const },
      { kind: 'bridgeInterface' as const, name: 'cni0' },
    ];
    for (const localDetector of detectors) {
      const belief = parseKernelBelief(await iptables.save(), isManagedChain);
      const builder = new TransactionBuilder(belief);
      const { chains, jumps } = renderIpvsBase({ ...base, family, localDetector });
      for (const { table, name, rules } of chains) {
        if (dispatchChains[table].includes(name)) builder.putDispatch(table, name, rules);
        else builder.putChain(table, name, rules);
      }
      builder.putChain('filter', 'KUBE-IPVS-OUT-FILTER', []);
      for (const table of ['filter', 'nat'] as const) {
        const here = jumps.filter((jump) => jump.table === table);
        for (const from of new Set(here.map((jump) => jump.from))) {
          builder.putJumps(
            table,
            from,
            here.filter((jump) => jump.from === from).map((jump) => jump.rule),
          );
        }
      }
      await iptables.restore(builder.build().text);
      builder.committed();
      expect(parseKernelBelief(await iptables.save(), isManagedChain)).toEqual(belief);
    }
    const builder = new TransactionBuilder(parseKernelBelief(await iptables.save(), isManagedChain));
    builder.removeEverything();
    await iptables.restore(builder.build().text);
    await ipset.destroy([...sets.keys()]);
    expect(await ipset.save()).toBe('');
  });
});
