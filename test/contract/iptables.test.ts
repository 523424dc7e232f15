import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeIptables } from '../../src/host/iptables/fake.ts';
import type { IptablesPort } from '../../src/host/iptables/port.ts';
import { detectFlavour, openIptables } from '../../src/host/iptables/real.ts';
import type { IPFamily } from '../../src/model/service.ts';
import { sha256 } from '../../src/services/act/sha256.ts';
import { emptyBelief, parseKernelBelief } from '../../src/services/delta/iptables/kernel-belief.ts';
import { TransactionBuilder } from '../../src/services/delta/iptables/transaction.ts';
import { serviceRules } from '../../src/services/policy/service-rules.ts';
import { isOwnChain } from '../../src/services/render/iptables/chains.ts';
import { renderBase } from '../../src/services/render/iptables/render-base.ts';
import { renderServicePort } from '../../src/services/render/iptables/render-service-port.ts';
import { base, facts, here, service, slice } from '../unit/services/support/objects.ts';

const isRoot = process.getuid?.() === 0;

interface Subject {
  readonly name: string;
  readonly needsRoot: boolean;
  open(): Promise<{ port: IptablesPort; close(): void }>;
}

let namespaces = 0;

function realSubject(flavour: 'nft' | 'legacy', family: IPFamily): Subject {
  return {
    name: `${flavour}, ${family}`,
    needsRoot: true,
    async open() {
      const name = `dhsvc-ct-${process.pid}-${namespaces++}`;
      execFileSync('ip', ['netns', 'add', name]);
      const prefix = ['nsenter', `--net=/run/netns/${name}`];
      const close = (): void => void execFileSync('ip', ['netns', 'del', name]);
      const port = await openIptables({ family, flavour, prefix });
      if (port === undefined) {
        close();
        throw new Error(`${flavour} ${family} is not to be had here`);
      }
      return { port, close };
    },
  };
}

function fakeSubject(family: IPFamily): Subject {
  return {
    name: `fake, ${family}`,
    needsRoot: false,
    open: async () => ({ port: new FakeIptables({ family }), close: () => {} }),
  };
}

const subjects = [
  fakeSubject('IPv4'),
  fakeSubject('IPv6'),
  realSubject('nft', 'IPv4'),
  realSubject('nft', 'IPv6'),
  realSubject('legacy', 'IPv4'),
  realSubject('legacy', 'IPv6'),
];

const lines = (...rows: readonly string[]): string => `${rows.join('\n')}\n`;

describe.each(subjects)('iptables contract: $name', (subject) => {
  const maybe = subject.needsRoot && !isRoot ? it.skip : it;
  let port: IptablesPort;
  let close = (): void => {};
  let any = '';

  beforeAll(async () => {
    if (subject.needsRoot && !isRoot) return;
    const opened = await subject.open();
    port = opened.port;
    close = opened.close;
    any = port.family === 'IPv4' ? '10.9.0.1/32' : 'fd00:9::1/128';
  });
  afterAll(() => close());

  const clear = async (): Promise<void> => {
    const builder = new TransactionBuilder(
      parseKernelBelief(await port.save(), (chain) => /^(KUBE|FOREIGN)-/.test(chain)),
    );
    builder.removeEverything();
    const { text } = builder.build();
    if (text !== '') await port.restore(text);
  };
  const refusal = (text: string): Promise<unknown> =>
    port.restore(text).then(
      () => undefined,
      (error: unknown) => error,
    );

  maybe('makes, lists, edits and removes chains', async () => {
    await port.restore(
      lines('*nat', ':KUBE-A - [0:0]', `-A KUBE-A -s ${any} -j RETURN`, '-A KUBE-A -j ACCEPT', 'COMMIT'),
    );
    expect(await port.list('nat', 'KUBE-A')).toEqual([`-A KUBE-A -s ${any} -j RETURN`, '-A KUBE-A -j ACCEPT']);
    await port.restore(lines('*nat', '-I KUBE-A 2 -p udp -j ACCEPT', `-D KUBE-A -s ${any} -j RETURN`, 'COMMIT'));
    expect(await port.list('nat', 'KUBE-A')).toEqual(['-A KUBE-A -p udp -j ACCEPT', '-A KUBE-A -j ACCEPT']);
    await port.restore(lines('*nat', ':KUBE-A - [0:0]', '-X KUBE-A', 'COMMIT'));
    expect(await port.list('nat', 'KUBE-A')).toBeUndefined();
  });

  maybe('a declared chain is emptied, others are left alone', async () => {
    await port.restore(
      lines('*filter', ':KUBE-A - [0:0]', ':FOREIGN-B - [0:0]', '-A KUBE-A -j DROP', '-A FOREIGN-B -j DROP', 'COMMIT'),
    );
    await port.restore(lines('*filter', ':KUBE-A - [0:0]', 'COMMIT'));
    expect(await port.list('filter', 'KUBE-A')).toEqual([]);
    expect(await port.list('filter', 'FOREIGN-B')).toEqual(['-A FOREIGN-B -j DROP']);
    await clear();
  });

  maybe('inserts count from the list as earlier edits of the same text left it', async () => {
    const rule = (mark: number): string => `-m mark --mark 0x${mark} -j RETURN`;
    await port.restore(lines('*nat', ':KUBE-A - [0:0]', ...[1, 2, 3, 4].map((n) => `-A KUBE-A ${rule(n)}`), 'COMMIT'));
    await port.restore(
      lines(
        '*nat',
        `-D KUBE-A ${rule(2)}`,
        `-I KUBE-A 2 ${rule(5)}`,
        `-I KUBE-A 3 ${rule(6)}`,
        `-I KUBE-A 6 ${rule(7)}`,
        'COMMIT',
      ),
    );
    expect(await port.list('nat', 'KUBE-A')).toEqual([1, 5, 6, 3, 4, 7].map((n) => `-A KUBE-A ${rule(n)}`));
    await clear();
  });

  maybe.each([
    ['a jump to a chain that does not exist', ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -j KUBE-NOWHERE', 'COMMIT']],
    [
      'removing a chain that a rule leads to',
      ['*nat', ':KUBE-A - [0:0]', ':KUBE-B - [0:0]', '-A KUBE-A -j KUBE-B', '-X KUBE-B', 'COMMIT'],
    ],
    ['removing a chain that does not exist', ['*nat', '-X KUBE-NOWHERE', 'COMMIT']],
    ['a rule in a chain that does not exist', ['*nat', '-A KUBE-NOWHERE -j RETURN', 'COMMIT']],
    ['an unknown table', ['*nonsense', 'COMMIT']],
    ['a name of 29 characters', ['*nat', `:KUBE-${'A'.repeat(24)} - [0:0]`, 'COMMIT']],
    ['deleting a rule that is not there', ['*nat', ':KUBE-A - [0:0]', '-D KUBE-A -j RETURN', 'COMMIT']],
    ['inserting beyond the end', ['*nat', ':KUBE-A - [0:0]', '-I KUBE-A 3 -j RETURN', 'COMMIT']],
    ['port 70000', ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -p tcp -m tcp --dport 70000 -j RETURN', 'COMMIT']],
    ['a port without a protocol', ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -m tcp --dport 70 -j RETURN', 'COMMIT']],
    ['a wrong address', ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -d 10.0.0.300 -j RETURN', 'COMMIT']],
    ['an address of no family', ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -d 10:0 -j RETURN', 'COMMIT']],
    ['REJECT in nat', ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -j REJECT', 'COMMIT']],
    [
      'a probability above 1',
      ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -m statistic --mode random --probability 1.5 -j RETURN', 'COMMIT'],
    ],
    ['an unknown match', ['*nat', ':KUBE-A - [0:0]', '-A KUBE-A -m nonsense -j RETURN', 'COMMIT']],
    ['no COMMIT', ['*nat', ':KUBE-A - [0:0]']],
  ])('refuses %s, and changes nothing in that table', async (_what, text) => {
    expect(await refusal(lines(...text))).toMatchObject({ code: 'CommandFailed' });
    expect(parseKernelBelief(await port.save())).toEqual(emptyBelief());
  });

  maybe('cuts a comment to 255 characters', async () => {
    const comment = (length: number): string => `-A KUBE-A -m comment --comment ${'x'.repeat(length)}`;
    await port.restore(lines('*nat', ':KUBE-A - [0:0]', comment(255), comment(256), 'COMMIT'));
    expect(await port.list('nat', 'KUBE-A')).toEqual([comment(255), comment(255)]);
    await clear();
  });

  maybe('names the line that it refuses', async () => {
    const error = await refusal(lines('*nat', ':KUBE-A - [0:0]', '-D KUBE-A -j RETURN', 'COMMIT'));
    expect(error).toMatchObject({ metadata: { line: 3 } });
  });

  maybe('a table before a refused one is applied', async () => {
    const text = lines(
      '*filter',
      ':KUBE-A - [0:0]',
      'COMMIT',
      '*nat',
      ':KUBE-A - [0:0]',
      '-A KUBE-A -j KUBE-NOWHERE',
      'COMMIT',
    );
    expect(await refusal(text)).toMatchObject({ code: 'CommandFailed' });
    expect(await port.list('filter', 'KUBE-A')).toEqual([]);
    expect(await port.list('nat', 'KUBE-A')).toBeUndefined();
    await clear();
  });

  maybe('whatever we write reads back word for word', async () => {
    const { family } = port;
    const [vip, one, two, external, balancer, range] =
      family === 'IPv4'
        ? ['172.30.0.41', '10.1.0.1', '10.2.0.2', '192.0.2.7', '203.0.113.9', '198.51.100.0/24']
        : ['fd00:96::41', 'fd00:10::1', 'fd00:20::2', 'fd00:c0::7', 'fd00:cb::9', 'fd00:c6::/48'];
    const kinds = ['TCP', 'UDP', 'SCTP'] as const;
    const ports = kinds.map((protocol, index) => ({ name: `p-${protocol.toLowerCase()}`, protocol, port: 80 + index }));
    const whole = service(
      'ns-1/svc.one',
      {
        clusterIP: vip,
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        internalTrafficPolicy: 'Local',
        externalIPs: [external],
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 77 } },
        healthCheckNodePort: 31_000,
        loadBalancerSourceRanges: [range],
        ports: ports.map((entry, index) => ({ ...entry, nodePort: 30_000 + index })),
      },
      { loadBalancer: { ingress: [{ ip: balancer }] } },
    );
    const endpoints = [here(one), here(family === 'IPv4' ? '10.1.0.3' : 'fd00:10::3'), two];
    const full = slice('ns-1/svc.one', endpoints, { addressType: family, ports });
    const none = service('ns-1/empty', { clusterIP: family === 'IPv4' ? '172.30.0.42' : 'fd00:96::42' });
    const rulesOf = (object: typeof whole, slices: readonly (typeof full)[]) =>
      serviceRules({ service: object, slices, family, facts, local: () => undefined }).rules;
    const wide = {
      ...base,
      family,
      localhostNodePorts: true,
      nodePorts: { kind: 'local', loopback: family === 'IPv4' },
    } as const;

    const belief = emptyBelief();
    const builder = new TransactionBuilder(belief);
    const rendered = renderBase(wide);
    for (const chain of rendered.chains) builder.putChain(chain.table, chain.name, chain.rules);
    const shared = new Map<string, string[]>();
    for (const rules of [...rulesOf(whole, [full]), ...rulesOf(none, [])]) {
      const { chains, dispatch } = renderServicePort(rules, wide, sha256);
      for (const chain of chains) builder.putChain('nat', chain.name, chain.rules);
      for (const { table, chain, rule } of dispatch) {
        const key = `${table} ${chain}`;
        shared.set(key, [...(shared.get(key) ?? []), rule]);
      }
    }
    for (const chain of ['KUBE-SERVICES', 'KUBE-EXTERNAL-SERVICES', 'KUBE-NODEPORTS', 'KUBE-PROXY-FIREWALL']) {
      builder.putDispatch('filter', chain, shared.get(`filter ${chain}`) ?? []);
    }
    builder.putDispatch('nat', 'KUBE-SERVICES', [...(shared.get('nat KUBE-SERVICES') ?? []), ...rendered.servicesTail]);
    builder.putDispatch('nat', 'KUBE-NODEPORTS', shared.get('nat KUBE-NODEPORTS') ?? []);
    for (const table of ['filter', 'nat'] as const) {
      for (const from of new Set(rendered.jumps.filter((jump) => jump.table === table).map((jump) => jump.from))) {
        const rules = rendered.jumps
          .filter((jump) => jump.table === table && jump.from === from)
          .map((jump) => jump.rule);
        builder.putJumps(table, from, rules);
      }
    }
    const { text } = builder.build();
    expect(text.split('\n').length).toBeGreaterThan(90);
    await port.restore(text);
    builder.committed();

    expect(parseKernelBelief(await port.save(), isOwnChain)).toEqual(belief);
    await clear();
    expect(parseKernelBelief(await port.save())).toEqual(emptyBelief());
  });

  maybe('survives a long random life of chain rewrites and edits in the order that was asked for', async () => {
    const belief = emptyBelief();
    let seed = 12_345;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    let ports: number[] = [];
    for (let round = 0; round < 25; round++) {
      for (let change = 0; change < 1 + random(4); change++) {
        const number = 1 + random(40);
        ports = ports.includes(number)
          ? ports.filter((one) => one !== number)
          : [...ports, number].sort((a, b) => a - b);
      }
      const builder = new TransactionBuilder(belief);
      for (let number = 1; number <= 40; number++) {
        const name = `KUBE-SVC-${number}`;
        if (ports.includes(number)) builder.putChain('nat', name, [`-m mark --mark 0x${1 + random(3)} -j RETURN`]);
        else builder.removeChain('nat', name);
      }
      builder.putDispatch(
        'nat',
        'KUBE-SERVICES',
        ports.map((number) => `-p tcp -m tcp --dport ${number} -j KUBE-SVC-${number}`),
      );
      const { text } = builder.build();
      if (text !== '') await port.restore(text);
      builder.committed();
      expect(parseKernelBelief(await port.save())).toEqual(belief);
    }
    await clear();
  });
});

describe('flavour', () => {
  const maybe = isRoot ? it : it.skip;
  maybe('is the one that holds the chains of Kubernetes, or else what iptables is by default', async () => {
    const name = `dhsvc-fl-${process.pid}`;
    execFileSync('ip', ['netns', 'add', name]);
    try {
      const prefix = ['nsenter', `--net=/run/netns/${name}`];
      const byDefault = execFileSync('iptables', ['--version']).toString().includes('nf_tables') ? 'nft' : 'legacy';
      expect(await detectFlavour({ family: 'IPv4', prefix })).toBe(byDefault);
      const legacy = await openIptables({ family: 'IPv4', flavour: 'legacy', prefix });
      await legacy?.restore(lines('*nat', ':KUBE-SERVICES - [0:0]', 'COMMIT'));
      expect(await detectFlavour({ family: 'IPv4', prefix })).toBe('legacy');
      expect((await openIptables({ family: 'IPv4', prefix }))?.flavour).toBe('legacy');
    } finally {
      execFileSync('ip', ['netns', 'del', name]);
    }
  });
});
