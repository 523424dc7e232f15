import { describe, expect, it } from 'vitest';
import { FakeNet } from '../../../src/host/net/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { applyKernelSettings } from '../../../src/services/act/kernel-settings.ts';

const options = { families: ['IPv4', 'IPv6'] as const, localhostNodePorts: false, cores: 2 };

describe('applyKernelSettings', () => {
  it('sets what Services need, leaves what is right, and never lowers the table of connections', async () => {
    const net = new FakeNet({
      'net.ipv4.ip_forward': '0',
      'net.ipv6.conf.all.forwarding': '1',
      'net.ipv4.conf.all.route_localnet': '0',
      'net.bridge.bridge-nf-call-iptables': '0',
      'net.netfilter.nf_conntrack_max': '262144',
      'net.netfilter.nf_conntrack_tcp_timeout_close_wait': '60',
      'net.netfilter.nf_conntrack_tcp_be_liberal': '1',
    });
    expect(await applyKernelSettings(options, net, silent)).toEqual({ tcpBeLiberal: true });
    expect(Object.fromEntries(net.sysctls)).toEqual({
      'net.ipv4.ip_forward': '1',
      'net.ipv6.conf.all.forwarding': '1',
      'net.ipv4.conf.all.route_localnet': '0',
      'net.bridge.bridge-nf-call-iptables': '1',
      'net.netfilter.nf_conntrack_max': '262144',
      'net.netfilter.nf_conntrack_tcp_timeout_close_wait': '3600',
      'net.netfilter.nf_conntrack_tcp_be_liberal': '1',
    });
    expect(net.writes).toBe(3);
  });

  it('sizes the table of connections as kube-proxy does, and route_localnet only for localhost node ports', async () => {
    const sysctls = { 'net.netfilter.nf_conntrack_max': '65536', 'net.ipv4.conf.all.route_localnet': '0' };
    const few = new FakeNet(sysctls);
    await applyKernelSettings(options, few, silent);
    expect(few.sysctls.get('net.netfilter.nf_conntrack_max')).toBe('131072');
    const many = new FakeNet(sysctls);
    await applyKernelSettings({ ...options, cores: 16, localhostNodePorts: true }, many, silent);
    expect(many.sysctls.get('net.netfilter.nf_conntrack_max')).toBe(String(16 * 32_768));
    expect(many.sysctls.get('net.ipv4.conf.all.route_localnet')).toBe('1');
  });

  it('the hash table of connections, UDP time-outs and tcp_be_liberal, where asked for', async () => {
    const names = ['buckets', 'udp_timeout', 'udp_timeout_stream', 'tcp_be_liberal'];
    const net = new FakeNet(Object.fromEntries(names.map((name) => [`net.netfilter.nf_conntrack_${name}`, '0'])));
    const values = (): unknown[] => names.map((name) => net.sysctls.get(`net.netfilter.nf_conntrack_${name}`));
    await applyKernelSettings(options, net, silent);
    expect(values()).toEqual(['32768', '0', '0', '0']);
    const asked = { ...options, udpSeconds: 30, udpStreamSeconds: 180, tcpBeLiberal: true };
    expect(await applyKernelSettings(asked, net, silent)).toEqual({ tcpBeLiberal: true });
    expect(values()).toEqual(['32768', '30', '180', '1']);
  });

  it('what IPVS needs, and ARP where it is asked for', async () => {
    const vs = ['conntrack', 'expire_nodest_conn', 'expire_quiescent_template', 'conn_reuse_mode'];
    const arp = ['arp_ignore', 'arp_announce'];
    const names = [...vs.map((name) => `net.ipv4.vs.${name}`), ...arp.map((name) => `net.ipv4.conf.all.${name}`)];
    const valuesWith = async (ipvs: { strictARP: boolean; kernelRelease: string } | undefined): Promise<string> => {
      const net = new FakeNet(Object.fromEntries(names.map((name) => [name, '7'])));
      await applyKernelSettings({ ...options, ...(ipvs === undefined ? {} : { ipvs }) }, net, silent);
      return names.map((name) => net.sysctls.get(name)).join(' ');
    };
    expect(await valuesWith(undefined)).toBe('7 7 7 7 7 7');
    expect(await valuesWith({ strictARP: false, kernelRelease: '6.12.9-amd64' })).toBe('1 1 1 7 7 7');
    expect(await valuesWith({ strictARP: true, kernelRelease: '5.9.0' })).toBe('1 1 1 7 1 2');
    expect(await valuesWith({ strictARP: false, kernelRelease: '5.8.18' })).toBe('1 1 1 0 7 7');
  });

  it('warns and goes on where something cannot be set', async () => {
    const warnings: unknown[] = [];
    const log = { ...silent, warn: (fields: unknown) => void warnings.push(fields) };
    const sysctls = { 'net.ipv4.ip_forward': '0', 'net.netfilter.nf_conntrack_max': '1' };
    const net = new FakeNet(sysctls, [], ['net.netfilter.nf_conntrack_max']);
    expect(await applyKernelSettings(options, net, log)).toEqual({ tcpBeLiberal: false });
    expect(net.sysctls.get('net.ipv4.ip_forward')).toBe('1');
    expect(warnings).toMatchObject([{ sysctl: 'net.netfilter.nf_conntrack_max', value: 131_072 }]);
  });
});
