import type { Container, Pod } from '../../model/pod.ts';

/** One object in the pod's namespace that the pod reads. */
export interface Reference {
  readonly name: string;
  /** True when every use of it says so. */
  readonly optional: boolean;
  /** No volume has it: it is read when a container starts and not followed after that. */
  readonly onlyAtStart: boolean;
}

export interface References {
  readonly configMaps: readonly Reference[];
  readonly secrets: readonly Reference[];
}

type Uses = Map<string, Omit<Reference, 'name'>>;

class Collector {
  readonly configMaps: Uses = new Map();
  readonly secrets: Uses = new Map();

  add(into: Uses, name: string | undefined, optional: boolean | undefined, onlyAtStart = false): void {
    if (name === undefined || name === '') return;
    const known = into.get(name) ?? { optional: true, onlyAtStart: true };
    into.set(name, {
      optional: known.optional && optional === true,
      onlyAtStart: known.onlyAtStart && onlyAtStart,
    });
  }

  addContainer(container: Container): void {
    for (const source of container.envFrom ?? []) {
      this.add(this.configMaps, source.configMapRef?.name, source.configMapRef?.optional, true);
      this.add(this.secrets, source.secretRef?.name, source.secretRef?.optional, true);
    }
    for (const variable of container.env ?? []) {
      const { configMapKeyRef, secretKeyRef } = variable.valueFrom ?? {};
      this.add(this.configMaps, configMapKeyRef?.name, configMapKeyRef?.optional, true);
      this.add(this.secrets, secretKeyRef?.name, secretKeyRef?.optional, true);
    }
  }

  result(): References {
    const list = (uses: Uses): Reference[] => [...uses].map(([name, use]) => ({ name, ...use }));
    return { configMaps: list(this.configMaps), secrets: list(this.secrets) };
  }
}

/** What one container's env and envFrom read: to be fetched before resolveEnvironment. */
export function environmentReferences(container: Container): References {
  const collector = new Collector();
  collector.addContainer(container);
  return collector.result();
}

/**
 * Every ConfigMap and Secret that a pod names: in env and envFrom of all its containers, in volumes and projections,
 * and as imagePullSecrets (which count as optional: a missing one only loses its credentials).
 */
export function referencesOf(pod: Pod): References {
  const collector = new Collector();
  const { configMaps, secrets } = collector;
  const { spec } = pod;
  for (const list of [spec.initContainers, spec.containers, spec.ephemeralContainers]) {
    for (const container of list ?? []) collector.addContainer(container);
  }
  for (const volume of spec.volumes ?? []) {
    collector.add(configMaps, volume.configMap?.name, volume.configMap?.optional);
    collector.add(secrets, volume.secret?.secretName, volume.secret?.optional);
    for (const source of volume.projected?.sources ?? []) {
      collector.add(configMaps, source.configMap?.name, source.configMap?.optional);
      collector.add(secrets, source.secret?.name, source.secret?.optional);
    }
  }
  for (const secret of spec.imagePullSecrets ?? []) collector.add(secrets, secret.name, true, true);
  return collector.result();
}
