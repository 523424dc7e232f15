import { describe, expect, it } from 'vitest';
import { FakeIptables, type Outcome } from '../../../src/host/iptables/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { keyOf } from '../../../src/model/meta.ts';
import type { IPFamily } from '../../../src/model/service.ts';
import { IptablesBackend } from '../../../src/services/act/iptables-backend.ts';
import { tracePacket } from '../../../src/services/explain/trace-packet.ts';
import type { ServicePortRules } from '../../../src/services/model.ts';
import { nodePortScope } from '../../../src/services/policy/node-port-scope.ts';
import { isProxied, serviceRules } from '../../../src/services/policy/service-rules.ts';
import type { BaseRules } from '../../../src/services/port.ts';
import { endText, plans, type Row, sorted, tableFacts, tableRows, tableWorld } from './support/packet-table.ts';

const families = ['IPv4', 'IPv6'] as const;

function neutral(family: IPFamily): { services: Map<string, readonly ServicePortRules[]>; base: BaseRules } {
  const facts = tableFacts(family);
  const { services, slices } = tableWorld(family);
  const plan = plans[family];
  const rules = new Map<string, readonly ServicePortRules[]>();
  for (const service of services.filter(isProxied)) {
    const own = slices.filter(
      (slice) => slice.metadata.labels?.['kubernetes.io/service-name'] === service.metadata.name,
    );
    const input = { service, slices: own, family, facts, local: () => undefined };
    const made = serviceRules(input);
    expect(made.problems).toEqual([]);
    rules.set(keyOf(service), made.rules);
  }
  const base: BaseRules = {
    ...facts,
    family,
    nodePorts: nodePortScope(family, facts, [plan.node, plan.node2]),
    tcpBeLiberal: false,
  };
  return { services: rules, base };
}

const inInterface = (row: Row): { inInterface?: string } =>
  row.client === 'node' ? {} : { inInterface: ['pod', 'p1', 'p2'].includes(row.client) ? 'cni0' : 'eth0' };

describe.each(families)('the table of packets, %s', (family) => {
  const plan = plans[family];
  const localAddresses = [plan.node, plan.node2, plan.bridge];

  it('has at least 300 rows', () => {
    expect(tableRows(family, 'nftables').length).toBeGreaterThanOrEqual(300);
  });

  it.each(['nftables', 'iptables', 'ipvs'] as const)('the model answers it as %s does', (backend) => {
    const { services, base } = neutral(family);
    const rules = [...services.values()].flat();
    const wrong: string[] = [];
    for (const row of tableRows(family, backend)) {
      const trace = tracePacket(
        { ...row, protocol: row.protocol === 'tcp' ? 'TCP' : 'UDP', ...inInterface(row) },
        { rules, base, localAddresses, backend },
      );
      const got =
        trace.verdict === 'forward'
          ? sorted(trace.targets.map((one) => endText(plan, one.address, one.port, one.masquerade)).join(' '))
          : trace.verdict;
      if (got !== (row.direct ? 'pass' : row.expected)) wrong.push(`${row.name}: ${got}, not ${row.expected}`);
      expect(trace.reason).not.toBe('');
    }
    expect(wrong).toEqual([]);
  });

  it('the iptables rules answer it, evenly spread', async () => {
    const { services, base } = neutral(family);
    const kernel = new FakeIptables({ family, localAddresses });
    await new IptablesBackend({ iptables: kernel, log: silent }).sync({ base, services, complete: true });
    const wrong: string[] = [];
    for (const row of tableRows(family, 'iptables')) {
      const outcomes = kernel.trace({ ...row, ...inInterface(row) });
      const got = wordsOf(outcomes);
      if (got !== (row.direct ? 'pass' : row.expected)) wrong.push(`${row.name}: ${got}, not ${row.expected}`);
    }
    expect(wrong).toEqual([]);
  });

  function wordsOf(outcomes: readonly Outcome[]): string {
    const even = outcomes.every(({ probability }) => Math.abs(probability - 1 / outcomes.length) < 1e-6);
    const texts = outcomes.map(({ verdict, to, masquerade }) => {
      if (verdict !== 'accept') return verdict;
      if (to === undefined) return 'pass';
      const colon = to.lastIndexOf(':');
      return endText(plan, to.slice(0, colon).replace(/[[\]]/g, ''), Number(to.slice(colon + 1)), masquerade);
    });
    return `${sorted(texts.join(' '))}${even ? '' : ' UNEVEN'}`;
  }
});
