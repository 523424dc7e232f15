import { formatCidr, parseCidr } from '../../../model/cidr.ts';
import type { IPFamily } from '../../../model/service.ts';

/** Whose addresses are those of Services; kube-proxy's name. */
export const serviceDevice = 'kube-ipvs0';

type SetType = 'hash:ip' | 'hash:ip,port' | 'hash:ip,port,ip' | 'hash:ip,port,net' | 'bitmap:port';

/**
 * Names and types are kube-proxy's (pkg/proxy/ipvs/ipset.go), besides the first two: kube-proxy does not drop. In the
 * order in which members are added, and removed backwards: who may come in stands before what is closed to others.
 */
const types = {
  'NO-LOCAL': 'hash:ip,port',
  'NO-LOCAL-OUTSIDE': 'hash:ip,port',
  'LOOP-BACK': 'hash:ip,port,ip',
  'CLUSTER-IP': 'hash:ip,port',
  'EXTERNAL-IP': 'hash:ip,port',
  'EXTERNAL-IP-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER-SOURCE-CIDR': 'hash:ip,port,net',
  'LOAD-BALANCER-SOURCE-IP': 'hash:ip,port,ip',
  'LOAD-BALANCER-FW': 'hash:ip,port',
  'LOAD-BALANCER-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER': 'hash:ip,port',
  'NODE-PORT-LOCAL-TCP': 'bitmap:port',
  'NODE-PORT-TCP': 'bitmap:port',
  'NODE-PORT-LOCAL-UDP': 'bitmap:port',
  'NODE-PORT-UDP': 'bitmap:port',
  'NODE-PORT-LOCAL-SCTP-HASH': 'hash:ip,port',
  'NODE-PORT-SCTP-HASH': 'hash:ip,port',
  'HEALTH-CHECK-NODE-PORT': 'bitmap:port',
  'IPVS-IPS': 'hash:ip',
} as const satisfies Record<string, SetType>;

export type ServiceSet = keyof typeof types;

/** IPSET_MAXNAMELEN is 32 with the terminating zero. */
const longestName = 31;
/** kube-proxy has 65536, which 40,000 Services of two ports would fill. The kernel's memory follows what is in it. */
const most = 1_048_576;

/** In the kernel's words. The names of IPv6 sets are cut as kube-proxy cuts them. */
export function setName(set: ServiceSet, family: IPFamily): string {
  return family === 'IPv4' ? `KUBE-${set}` : `KUBE-6-${set}`.slice(0, longestName);
}

/** Name and what stands after it in the line that makes the set. */
export function setDefinitions(family: IPFamily): ReadonlyMap<string, string> {
  const inet = family === 'IPv4' ? 'inet' : 'inet6';
  return new Map(
    Object.entries(types).map(([set, type]) => [
      setName(set as ServiceSet, family),
      type === 'bitmap:port' ? `${type} range 0-65535` : `${type} family ${inet} hashsize 1024 maxelem ${most}`,
    ]),
  );
}

/** Of a set that has to be made anew while rules look into it; nothing does into this one. */
export function spareSet(family: IPFamily): string {
  return family === 'IPv4' ? 'DECKHAND-SPARE' : 'DECKHAND-6-SPARE';
}

/** A network as a member is printed: that of a single address is the address alone. */
export function networkText(text: string): string {
  const cidr = parseCidr(text);
  if (cidr === undefined) return text;
  const whole = formatCidr(cidr);
  return cidr.prefix === (cidr.family === 'IPv4' ? 32 : 128) ? whole.slice(0, whole.indexOf('/')) : whole;
}
