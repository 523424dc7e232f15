import type { NetPort } from '../../host/net/port.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { IPFamily } from '../../model/service.ts';

export interface KernelSettingsOptions {
  readonly families: readonly IPFamily[];
  readonly localhostNodePorts: boolean;
  readonly cores: number;
  /** KubeProxyConfiguration.conntrack; 0 leaves the kernel's value. Defaults: kube-proxy's. */
  readonly conntrackMaxPerCore?: number;
  readonly conntrackMin?: number;
  readonly tcpEstablishedSeconds?: number;
  readonly tcpCloseWaitSeconds?: number;
  readonly tcpBeLiberal?: boolean;
  readonly udpSeconds?: number;
  readonly udpStreamSeconds?: number;
  /** Of mode ipvs. */
  readonly ipvs?: IpvsKernelOptions;
}

export interface IpvsKernelOptions {
  readonly strictARP: boolean;
  /** uname -r */
  readonly kernelRelease: string;
}

export interface KernelSettings {
  /** net.netfilter.nf_conntrack_tcp_be_liberal is set. */
  readonly tcpBeLiberal: boolean;
}

export interface Wish {
  readonly name: string;
  readonly value: number;
  /** `exactly`, or only ever upwards. */
  readonly how: 'exactly' | 'at least';
  /** Why it matters when it cannot be had. */
  readonly otherwise: string;
}

/**
 * Sets the sysctls that Service rules rely on. A value that cannot be set is a warning, never a failure: in a
 * container or a network namespace some belong to the host, which may have them right already.
 */
export async function applyKernelSettings(
  options: KernelSettingsOptions,
  net: NetPort,
  log: Logger,
): Promise<KernelSettings> {
  for (const wish of wishesOf(options)) {
    try {
      const text = await net.readSysctl(wish.name);
      // Absent: the bridge or conntrack code is not loaded, then nothing passes through it either.
      if (text === undefined) continue;
      const current = Number(text);
      if (current === wish.value || (wish.how === 'at least' && current > wish.value)) continue;
      await net.writeSysctl(wish.name, String(wish.value));
      log.info({ sysctl: wish.name, from: current, to: wish.value }, 'set a sysctl for Services');
    } catch (error) {
      log.warn(
        { sysctl: wish.name, value: wish.value, error: messageOf(error) },
        `cannot set a sysctl: ${wish.otherwise}`,
      );
    }
  }
  const liberal = await net.readSysctl('net.netfilter.nf_conntrack_tcp_be_liberal').catch(() => undefined);
  return { tcpBeLiberal: liberal !== undefined && liberal !== '0' };
}

function wishesOf(options: KernelSettingsOptions): Wish[] {
  const { conntrackMaxPerCore = 32_768, conntrackMin = 131_072 } = options;
  const { tcpEstablishedSeconds = 86_400, tcpCloseWaitSeconds = 3_600 } = options;
  const wishes: Wish[] = [];
  const unforwarded = 'traffic to endpoints on other interfaces is not forwarded';
  const unseen = 'traffic between pods of one bridge passes by the Service rules (hairpin and replies break)';
  if (options.families.includes('IPv4')) {
    wishes.push({ name: 'net.ipv4.ip_forward', value: 1, how: 'exactly', otherwise: unforwarded });
    wishes.push({ name: 'net.bridge.bridge-nf-call-iptables', value: 1, how: 'exactly', otherwise: unseen });
    if (options.localhostNodePorts) {
      const otherwise = 'node ports do not answer on 127.0.0.1';
      wishes.push({ name: 'net.ipv4.conf.all.route_localnet', value: 1, how: 'exactly', otherwise });
    }
  }
  if (options.families.includes('IPv6')) {
    wishes.push({ name: 'net.ipv6.conf.all.forwarding', value: 1, how: 'exactly', otherwise: unforwarded });
    wishes.push({ name: 'net.bridge.bridge-nf-call-ip6tables', value: 1, how: 'exactly', otherwise: unseen });
  }
  const flows = conntrackMaxPerCore === 0 ? 0 : Math.max(conntrackMin, conntrackMaxPerCore * options.cores);
  const conntrack = (name: string, value: number, how: Wish['how'], otherwise: string): void => {
    if (value > 0) wishes.push({ name: `net.netfilter.nf_conntrack_${name}`, value, how, otherwise });
  };
  conntrack('max', flows, 'at least', 'new connections fail once the table of connections is full');
  // The kernel makes four entries a bucket; more, and looking one up takes long (pkg/proxy/conntrack/sysctls.go).
  conntrack('buckets', Math.floor(flows / 4), 'at least', 'looking up a connection takes longer when there are many');
  const kept = 'idle connections are forgotten sooner or later than with kube-proxy';
  conntrack('tcp_timeout_established', tcpEstablishedSeconds, 'exactly', kept);
  conntrack('tcp_timeout_close_wait', tcpCloseWaitSeconds, 'exactly', kept);
  const { tcpBeLiberal = false, udpSeconds = 0, udpStreamSeconds = 0 } = options;
  conntrack('tcp_be_liberal', tcpBeLiberal ? 1 : 0, 'exactly', 'packets out of the window are dropped as INVALID');
  conntrack('udp_timeout', udpSeconds, 'exactly', kept);
  conntrack('udp_timeout_stream', udpStreamSeconds, 'exactly', kept);
  if (options.ipvs !== undefined) wishes.push(...ipvsWishes(options.ipvs));
  return wishes;
}

/** What IPVS needs for Services (pkg/proxy/ipvs/proxier.go NewProxier). */
export function ipvsWishes({ strictARP, kernelRelease }: IpvsKernelOptions): readonly Wish[] {
  const wish = (name: string, value: number, otherwise: string): Wish => ({ name, value, how: 'exactly', otherwise });
  const wishes = [
    wish('net.ipv4.vs.conntrack', 1, 'packets to Services are not masqueraded, and answers of endpoints are lost'),
    wish('net.ipv4.vs.expire_nodest_conn', 1, 'clients of an endpoint that is gone wait until they time out'),
    wish('net.ipv4.vs.expire_quiescent_template', 1, 'clients with affinity stay with an endpoint that is going'),
  ];
  const [major = 0, minor = 0] = kernelRelease.split('.').map(Number);
  // From 5.9 on a reused port costs no second (kubernetes/kubernetes#93297); before, the next connection may be lost.
  if (major < 5 || (major === 5 && minor < 9)) {
    const otherwise =
      'a connection from a port that was used before takes a second, or goes to an endpoint that is gone';
    wishes.push(wish('net.ipv4.vs.conn_reuse_mode', 0, otherwise));
  }
  if (strictARP) {
    const otherwise = 'other nodes of the network may be told that the addresses of Services are here';
    wishes.push(
      wish('net.ipv4.conf.all.arp_ignore', 1, otherwise),
      wish('net.ipv4.conf.all.arp_announce', 2, otherwise),
    );
  }
  return wishes;
}
