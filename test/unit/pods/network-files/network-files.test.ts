import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../../src/model/pod.ts';
import { type DNSInput, dnsConfigFor } from '../../../../src/pods/network-files/dns-config.ts';
import { hostnameOf, sandboxHostnameOf } from '../../../../src/pods/network-files/hostname.ts';
import { hostsFileOf, wantsHostsFile } from '../../../../src/pods/network-files/hosts-file.ts';
import { parseResolvConf } from '../../../../src/pods/network-files/resolv-conf.ts';

function podWith(spec: Partial<Pod['spec']>, name = 'web-0'): Pod {
  return { metadata: { name, namespace: 'ns', uid: 'u' }, spec: { containers: [], ...spec } };
}

describe('hostsFileOf', () => {
  const input = {
    podIPs: ['10.1.0.5', 'fd00::5'],
    clusterDomain: 'cluster.local',
    hostFile: '127.0.0.1 localhost me\n',
  };

  it('lists loopback, the pod’s addresses and aliases', () => {
    const hostAliases = [{ ip: '1.2.3.4', hostnames: ['a', 'b.c'] }, { ip: '::9' }];
    expect(hostsFileOf(podWith({ hostAliases }), input)).toBe(
      '# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' +
        'fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n' +
        '10.1.0.5\tweb-0\nfd00::5\tweb-0\n' +
        '\n# Entries added by HostAliases.\n1.2.3.4\ta\tb.c\n::9\t\n',
    );
  });

  it('adds the FQDN, and keeps the host’s file in its network', () => {
    expect(hostsFileOf(podWith({ subdomain: 'sub', hostname: 'h' }), input)).toContain(
      '10.1.0.5\th.sub.ns.svc.cluster.local\th\n',
    );
    expect(hostsFileOf(podWith({ hostNetwork: true, hostAliases: [{ ip: '1.1.1.1', hostnames: ['x'] }] }), input)).toBe(
      '# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost me\n\n# Entries added by HostAliases.\n1.1.1.1\tx\n',
    );
  });

  it('is wanted unless a container mounts its own', () => {
    const mounts = (mountPath: string) => ({ volumeMounts: [{ mountPath }] });
    expect(wantsHostsFile(podWith({}), {}, ['10.0.0.1'])).toBe(true);
    expect(wantsHostsFile(podWith({}), {}, [])).toBe(false);
    expect(wantsHostsFile(podWith({ hostNetwork: true }), {}, [])).toBe(true);
    for (const path of ['/etc/hosts', '/etc//hosts/'])
      expect(wantsHostsFile(podWith({}), mounts(path), ['1'])).toBe(false);
    expect(wantsHostsFile(podWith({}), mounts('/etc'), ['1'])).toBe(true);
  });
});

describe('hostnames', () => {
  it.each([
    [{}, 'web-0', 'web-0', ''],
    [{}, `${'a'.repeat(62)}-bc`, 'a'.repeat(62), ''],
    [{}, `${'a'.repeat(61)}.-bc`, 'a'.repeat(61), ''],
    [{}, 'a'.repeat(100), 'a'.repeat(63), ''],
    [{ hostname: 'h' }, 'web-0', 'h', ''],
    [{ hostname: 'h', subdomain: 's' }, 'web-0', 'h', 's.ns.svc.cluster.local'],
    [{ hostnameOverride: 'o.example', hostname: 'h', subdomain: 's' }, 'web-0', 'o.example', ''],
    [{ hostnameOverride: `${'a'.repeat(63)}.` }, 'web-0', 'a'.repeat(63), ''],
  ])('%j of pod %s', (spec, name, hostname, domain) => {
    expect(hostnameOf(podWith(spec, name), 'cluster.local')).toEqual({ hostname, domain });
  });

  it('refuse a name of which nothing is left, and an FQDN over 64 characters', () => {
    expect(() => hostnameOf(podWith({}, '-'.repeat(70)), 'x')).toThrow('hostname for pod was invalid');
    const long = podWith({ hostname: 'h'.repeat(41), subdomain: 's', setHostnameAsFQDN: true });
    expect(sandboxHostnameOf(long, 'cluster.local')).toHaveLength(64);
    const longer = podWith({ hostname: 'h'.repeat(42), subdomain: 's', setHostnameAsFQDN: true });
    expect(() => sandboxHostnameOf(longer, 'cluster.local')).toThrow(
      `FQDN ${'h'.repeat(42)}.s.ns.svc.cluster.local is too long (64 characters is the max, 65 characters requested)`,
    );
    expect(sandboxHostnameOf(podWith({ hostNetwork: true }), 'cluster.local')).toBe('');
    expect(sandboxHostnameOf(podWith({ setHostnameAsFQDN: true }), 'cluster.local')).toBe('web-0');
  });
});

describe('parseResolvConf', () => {
  it('adds up nameservers, lets the last search and options win', () => {
    const text =
      '# c\nnameserver 1.1.1.1\n search a. b .\n\tnameserver\t::1 # x\nsearch c.d. .\noptions x\noptions ndots:2 rotate\nsortlist 1\n;';
    expect(parseResolvConf(text)).toEqual({
      nameservers: ['1.1.1.1', '::1'],
      searches: ['c.d', '.'],
      options: ['ndots:2', 'rotate'],
    });
    expect(parseResolvConf('')).toEqual({ nameservers: [], searches: [], options: [] });
    expect(() => parseResolvConf('nameserver\n')).toThrow('has no address');
  });
});

describe('dnsConfigFor', () => {
  const host = { nameservers: ['9.9.9.9'], searches: ['corp', 'cluster.local'], options: ['rotate'] };
  const input: DNSInput = { clusterDNS: ['10.0.0.10'], clusterDomain: 'cluster.local', hostResolv: host };
  const cluster = {
    servers: ['10.0.0.10'],
    searches: ['ns.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp'],
    options: ['ndots:5'],
  };
  const own = { servers: ['9.9.9.9'], searches: ['corp', 'cluster.local'], options: ['rotate'] };

  it.each([
    [{}, cluster],
    [{ dnsPolicy: 'ClusterFirst' as const }, cluster],
    [{ dnsPolicy: 'ClusterFirst' as const, hostNetwork: true }, own],
    [{ dnsPolicy: 'ClusterFirstWithHostNet' as const, hostNetwork: true }, cluster],
    [{ dnsPolicy: 'Default' as const }, own],
    [{ dnsPolicy: 'None' as const }, { servers: [], searches: [], options: [] }],
  ])('follows the policy of %j', (spec, config) => {
    expect(dnsConfigFor(podWith(spec), input)).toEqual({ config, warnings: [] });
  });

  it('merges dnsConfig', () => {
    const dnsConfig = {
      nameservers: ['10.0.0.10', '8.8.8.8'],
      searches: ['extra', 'corp'],
      options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
    };
    expect(dnsConfigFor(podWith({ dnsConfig }), input).config).toEqual({
      servers: ['10.0.0.10', '8.8.8.8'],
      searches: [...cluster.searches, 'extra'],
      options: ['ndots:2', 'edns0'],
    });
  });

  it('falls back to the host without cluster DNS, with an event', () => {
    const { config, warnings } = dnsConfigFor(podWith({}), { ...input, clusterDNS: [] });
    expect(config).toEqual(own);
    expect(warnings).toEqual([
      {
        reason: 'MissingClusterDNS',
        message:
          'pod: "web-0_ns(u)". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.',
        omitted: [],
      },
    ]);
  });

  it('points to the local machine without a resolvConf', () => {
    const none: DNSInput = { ...input, hostResolv: undefined };
    const config = (nodeIPs: string[]) => dnsConfigFor(podWith({ dnsPolicy: 'Default' }), { ...none, nodeIPs }).config;
    expect(config([])).toEqual({ servers: ['127.0.0.1'], searches: ['.'], options: [] });
    expect(config(['1.2.3.4', 'fd00::1']).servers).toEqual(['127.0.0.1', '::1']);
    expect(dnsConfigFor(podWith({}), { ...none, clusterDomain: '' }).config.searches).toEqual([]);
  });

  it('keeps to 3 nameservers, naming the omitted', () => {
    const nameservers = ['1.1.1.1', '2.2.2.2', '3.3.3.3', '4.4.4.4'];
    const { config, warnings } = dnsConfigFor(podWith({ dnsPolicy: 'None', dnsConfig: { nameservers } }), input);
    expect(config.servers).toEqual(nameservers.slice(0, 3));
    expect(warnings).toEqual([
      {
        reason: 'DNSConfigForming',
        message:
          'Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3',
        omitted: ['4.4.4.4'],
      },
    ]);
  });

  it('keeps any search list to 32 domains and 2048 characters (property)', () => {
    const domain = fc
      .integer({ min: 1, max: 300 })
      .chain((length) => fc.constantFrom('a', 'b', 'c').map((c) => c.repeat(length)));
    fc.assert(
      fc.property(fc.uniqueArray(domain, { maxLength: 45 }), (searches) => {
        const { config, warnings } = dnsConfigFor(podWith({ dnsPolicy: 'None', dnsConfig: { searches } }), input);
        expect(config.searches.length).toBeLessThanOrEqual(32);
        expect(config.searches.join(' ').length).toBeLessThanOrEqual(2048);
        expect(config.searches.every((name) => name.length <= 253)).toBe(true);
        const omitted = warnings.flatMap((warning) => warning.omitted);
        expect([...config.searches, ...omitted].sort()).toEqual([...searches].sort());
        expect(warnings.length).toBe(omitted.length > 0 ? 1 : 0);
      }),
    );
    const many = Array.from({ length: 33 }, (_, n) => `d${n}`);
    const { warnings } = dnsConfigFor(podWith({ dnsPolicy: 'None', dnsConfig: { searches: many } }), input);
    expect(warnings[0]?.omitted).toEqual(['d32']);
  });
});

describe('hostnameOverride', () => {
  it('goes before hostname, subdomain and the pod’s name, and has no domain', () => {
    const spec = { hostnameOverride: 'own.example', hostname: 'other', subdomain: 'sub' };
    expect(hostnameOf(podWith(spec), 'cluster.local')).toEqual({ hostname: 'own.example', domain: '' });
    expect(sandboxHostnameOf(podWith(spec), 'cluster.local')).toBe('own.example');
  });
});
