import { METRICS_GROUP, METRICS_VERSION, metricsResources } from '../metrics/metrics-api.ts';
import {
  RESOURCE_VERBS,
  type ServedResource,
  type Subresource,
  servedGroups,
  servedIn,
  servedVersions,
} from './served-resources.ts';

/** GET /api */
export function legacyVersions(serverAddress: string): unknown {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
  };
}

/** GET /apis. `metrics`: metrics.k8s.io is served, too. */
export function groupList(metrics: boolean): unknown {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups(metrics).map(groupOf) };
}

/** GET /apis/GROUP; undefined when it is not served. */
export function group(name: string, metrics: boolean): unknown {
  return groups(metrics).includes(name) ? { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(name) } : undefined;
}

function groups(metrics: boolean): string[] {
  return metrics ? [...servedGroups(), METRICS_GROUP].sort() : servedGroups();
}

function versionsOf(group: string): string[] {
  return group === METRICS_GROUP ? [METRICS_VERSION] : servedVersions(group);
}

function groupOf(name: string): object {
  const versions = versionsOf(name).map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions, preferredVersion: versions[0] };
}

/** GET /api/v1 and /apis/GROUP/v1; undefined when there is nothing. */
export function resourceList(apiVersion: string, metrics: boolean): unknown {
  if (metrics && apiVersion === `${METRICS_GROUP}/${METRICS_VERSION}`) {
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersion, resources: metricsResources };
  }
  const { stored, reviews } = servedIn(apiVersion);
  if (stored.length + reviews.length === 0) return undefined;
  const list: object[] = [];
  for (const resource of stored) list.push(...resourceEntries(resource));
  for (const { type, singular } of reviews) {
    list.push({
      name: type.plural,
      singularName: singular,
      namespaced: type.namespaced,
      kind: type.kind,
      verbs: ['create'],
    });
  }
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersion, resources: list };
}

function resourceEntries({ type, singular, shortNames, categories, subresources }: ServedResource): object[] {
  const own = {
    name: type.plural,
    singularName: singular,
    namespaced: type.namespaced,
    kind: type.kind,
    verbs: RESOURCE_VERBS,
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
  };
  const below = subresources.map(({ name, kind, group: of, version, verbs }) => ({
    name: `${type.plural}/${name}`,
    singularName: '',
    namespaced: type.namespaced,
    ...(of === undefined ? {} : { group: of, version }),
    kind: kind ?? type.kind,
    verbs,
  }));
  return [own, ...below];
}

/** GET /api and /apis as apidiscovery.k8s.io/v2 (KEP-3352): everything in two answers. */
export function aggregatedDiscovery(root: 'api' | 'apis', version: 'v2' | 'v2beta1', metrics: boolean): unknown {
  const names = root === 'api' ? [''] : groups(metrics);
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: names.map((name) => ({
      metadata: name === '' ? { creationTimestamp: null } : { name, creationTimestamp: null },
      versions: versionsOf(name).map((version) => ({
        version,
        freshness: 'Current',
        resources: aggregatedResources(name === '' ? version : `${name}/${version}`),
      })),
    })),
  };
}

function aggregatedResources(apiVersion: string): object[] {
  if (apiVersion === `${METRICS_GROUP}/${METRICS_VERSION}`) {
    return metricsResources.map(({ name, namespaced, kind, verbs }) => ({
      resource: name,
      responseKind: { group: METRICS_GROUP, version: METRICS_VERSION, kind },
      scope: namespaced ? 'Namespaced' : 'Cluster',
      singularResource: '',
      verbs,
    }));
  }
  const { stored, reviews } = servedIn(apiVersion);
  const kindOf = (group: string, version: string, kind: string): object => ({ group, version, kind });
  const list: object[] = stored.map((resource) => {
    const { type, singular, shortNames, categories, subresources } = resource;
    const below = subresources.map((one: Subresource) => ({
      subresource: one.name,
      responseKind: kindOf(one.group ?? type.group, one.version ?? type.version, one.kind ?? type.kind),
      verbs: one.verbs,
    }));
    return {
      resource: type.plural,
      responseKind: kindOf(type.group, type.version, type.kind),
      scope: type.namespaced ? 'Namespaced' : 'Cluster',
      singularResource: singular,
      verbs: RESOURCE_VERBS,
      ...(shortNames.length === 0 ? {} : { shortNames }),
      ...(categories.length === 0 ? {} : { categories }),
      ...(below.length === 0 ? {} : { subresources: below }),
    };
  });
  for (const { type, singular } of reviews) {
    list.push({
      resource: type.plural,
      responseKind: kindOf(type.group, type.version, type.kind),
      scope: type.namespaced ? 'Namespaced' : 'Cluster',
      singularResource: singular,
      verbs: ['create'],
    });
  }
  return list;
}
