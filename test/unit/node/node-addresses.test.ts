import { describe, expect, test } from 'vitest';
import type { HostAddress } from '../../../src/host/machine/port.ts';
import { hostIPsOf, nodeAddresses, nodeIPs } from '../../../src/node/node-addresses.ts';

function address(text: string, given: Partial<HostAddress> = {}): HostAddress {
  const family = text.includes(':') ? 6 : 4;
  return {
    interface: 'eth0',
    address: text,
    family,
    cidr: `${text}/${family === 4 ? 24 : 64}`,
    loopback: false,
    linkLocal: false,
    defaultRoute: true,
    ...given,
  };
}

const host = [
  address('127.0.0.1', { interface: 'lo', loopback: true, defaultRoute: false }),
  address('::1', { interface: 'lo', loopback: true, defaultRoute: false }),
  address('192.168.7.5', { interface: 'eth1', defaultRoute: false }),
  address('10.0.0.5'),
  address('fe80::1', { linkLocal: true }),
  address('2001:db8::5'),
];

const find = (configured: string[], resolved: string[] = [], addresses = host, nodeName = 'node-1') =>
  nodeIPs({ configured, nodeName, addresses, resolved });

describe('nodeIPs', () => {
  test.each<[string, string[], string[]]>([
    ['nothing: the default route, IPv4 first', [], ['10.0.0.5']],
    ['one address of the host', ['192.168.7.5'], ['192.168.7.5']],
    ['both families', ['2001:db8::5', '10.0.0.5'], ['2001:db8::5', '10.0.0.5']],
    ['0.0.0.0: the IPv4 one', ['0.0.0.0'], ['10.0.0.5']],
    [':: the IPv6 one', ['::'], ['2001:db8::5']],
  ])('%s', (_, configured, ips) => {
    expect(find(configured)).toEqual({ ips });
  });

  test.each([
    ['127.0.0.1', "can't be loopback"],
    ['224.0.0.1', 'multicast'],
    ['fe80::1', 'link-local'],
    ['10.9.9.9', 'not found in the host'],
  ])('%s is refused: %s', (configured, why) => {
    expect(find([configured])).toEqual({ problem: expect.stringContaining(why) });
  });

  test('the name goes before the default route, if the host has what it resolves to', () => {
    expect(find([], ['127.0.1.1', '192.168.7.5'])).toEqual({ ips: ['192.168.7.5'] });
    expect(find([], ['10.99.0.1'])).toEqual({ ips: ['10.0.0.5'] });
    expect(find(['::'], ['10.0.0.5', '2001:db8::5'])).toEqual({ ips: ['2001:db8::5'] });
    expect(find([], [], host, '10.0.0.5')).toEqual({ ips: ['10.0.0.5'] });
  });

  test('a global address on lo, where the default route has none; none at all', () => {
    const unnumbered = [
      address('169.254.3.4', { linkLocal: true }),
      address('10.7.0.1', { interface: 'lo', loopback: true, defaultRoute: false }),
    ];
    expect(find([], [], unnumbered)).toEqual({ ips: ['10.7.0.1'] });
    expect(find([], [], host.slice(0, 2))).toEqual({
      problem: expect.stringContaining("can't get ip address of node"),
    });
  });
});

describe('nodeAddresses', () => {
  const options = { nodeName: 'node-1', nodeIPs: [] as string[], externalCloudProvider: false };
  const hostname = { type: 'Hostname', address: 'node-1' } as const;

  test('InternalIPs and Hostname; what was known stays while nothing is found', () => {
    const first = nodeAddresses({ ips: ['10.0.0.5', '2001:db8::5'] }, options, undefined);
    expect(first).toEqual([
      { type: 'InternalIP', address: '10.0.0.5' },
      { type: 'InternalIP', address: '2001:db8::5' },
      hostname,
    ]);
    expect(nodeAddresses({ problem: 'x' }, options, first)).toEqual(first);
  });

  test('an external cloud provider keeps what it set, and begins with the name or with --node-ip', () => {
    const external = { ...options, externalCloudProvider: true };
    const cloud = [{ type: 'ExternalIP', address: '203.0.113.1' } as const];
    expect(nodeAddresses({ ips: ['10.0.0.5'] }, external, cloud)).toEqual(cloud);
    expect(nodeAddresses({ ips: ['10.0.0.5'] }, external, undefined)).toEqual([hostname]);
    expect(nodeAddresses({ ips: ['10.0.0.5'] }, { ...external, nodeIPs: ['0.0.0.0'] }, [])).toHaveLength(2);
  });

  test('host IPs: one of each family, internal ones first', () => {
    expect(
      hostIPsOf([
        { type: 'ExternalIP', address: '203.0.113.1' },
        { type: 'InternalIP', address: '10.0.0.5' },
        { type: 'InternalIP', address: '10.0.0.6' },
        { type: 'ExternalIP', address: '2001:db8::9' },
      ]),
    ).toEqual(['10.0.0.5', '2001:db8::9']);
  });
});
