import type { Service } from '../../model/service.ts';

/**
 * The variables that tell a container where the Services of its namespace are: `<SVC>_SERVICE_HOST`, `_PORT`,
 * `_PORT_<NAME>` and the Docker link style ones (pkg/kubelet/envvars). The Service `kubernetes` of namespace `default`
 * is always there, unless the pod's own namespace has one of that name and links are on; the others only with links.
 * Services without a cluster IP have none. Sorted by Service name.
 */
export function serviceEnvironment(
  services: Iterable<Service>,
  namespace: string,
  enableServiceLinks: boolean,
): Map<string, string> {
  const chosen = new Map<string, Service>();
  for (const service of services) {
    const { name = '', namespace: its = '' } = service.metadata;
    const { clusterIP = '' } = service.spec;
    if (clusterIP === '' || clusterIP === 'None') continue;
    if (its === namespace && enableServiceLinks) chosen.set(name, service);
    else if (its === 'default' && name === 'kubernetes' && !chosen.has(name)) chosen.set(name, service);
  }
  const variables = new Map<string, string>();
  for (const name of [...chosen.keys()].sort()) {
    const service = chosen.get(name);
    if (service !== undefined) addVariables(variables, name, service);
  }
  return variables;
}

function addVariables(variables: Map<string, string>, name: string, service: Service): void {
  const { clusterIP = '', ports = [] } = service.spec;
  const prefix = variableName(name);
  const address = clusterIP.includes(':') ? `[${clusterIP}]` : clusterIP;
  variables.set(`${prefix}_SERVICE_HOST`, clusterIP);
  const first = ports[0];
  if (first === undefined) return;
  variables.set(`${prefix}_SERVICE_PORT`, String(first.port));
  for (const port of ports) {
    if (port.name) variables.set(`${prefix}_SERVICE_PORT_${variableName(port.name)}`, String(port.port));
  }
  for (const port of ports) {
    const protocol = (port.protocol ?? 'TCP').toLowerCase();
    const url = `${protocol}://${address}:${port.port}`;
    const link = `${prefix}_PORT_${port.port}_${protocol.toUpperCase()}`;
    if (port === first) variables.set(`${prefix}_PORT`, url);
    variables.set(link, url);
    variables.set(`${link}_PROTO`, protocol);
    variables.set(`${link}_PORT`, String(port.port));
    variables.set(`${link}_ADDR`, clusterIP);
  }
}

function variableName(name: string): string {
  const upper = name.replace(/[.-]/g, '_').toUpperCase();
  return /^[0-9]/.test(upper) ? `_${upper}` : upper;
}
