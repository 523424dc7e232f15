import fc from 'fast-check';
import type { Container, Pod, PodSpec, Probe, Volume, VolumeMount } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { ObjectRules } from '../../../src/standalone/admission.ts';
import { SchemaTree } from '../../../src/standalone/schema/schema-tree.ts';
import {
  BEHAVIOURS,
  CHORES,
  ENVIRONMENT,
  HOOKS,
  LAST_HOOKS,
  ODD_CONTAINERS,
  PROBES,
  RESOURCES,
  STAYS,
} from './container-tables.ts';
import { ODD_PODS } from './pod-tables.ts';
import { foreignVolumes, GOOD_VOLUMES, hostVolumes, MOUNTS, ODD_VOLUMES } from './volume-tables.ts';

export interface RandomPodOptions {
  /** Every hostPath lies below it. */
  readonly hostFolder: string;
}

export interface RandomPod {
  readonly pod: Pod;
  /** Added to the pod once it runs (kubectl debug). */
  readonly debug: Container | undefined;
  /** What is out of the ordinary about it, for messages. */
  readonly oddities: readonly string[];
  /** With which it is to be deleted; undefined: its own. */
  readonly graceSeconds: number | undefined;
}

type Spec = PodSpec & { volumes: Volume[]; initContainers: Container[] };

interface Odd {
  readonly name: string;
  readonly apply: (spec: Spec) => void;
}

const schemas = new SchemaTree();
const rules = new ObjectRules(schemas);

/**
 * Pods that the API's own validation accepts. A pod is made of what every node can run (some containers, volumes,
 * probes, hooks, variables) and up to three oddities: each of those is a thing that a pod may ask for and that a node
 * may do, or refuse. Nothing in them leaves the pod's own namespaces or `hostFolder`, whatever rights it is given: the
 * programs only sleep, print and exit.
 */
export function randomPods({ hostFolder }: RandomPodOptions): fc.Arbitrary<RandomPod> {
  const odds = oddities(hostFolder);
  return fc
    .record({
      apps: fc.array(container(BEHAVIOURS, true), { minLength: 1, maxLength: 3 }).map(mostlyFew),
      chores: weighted<Partial<Container>[]>(
        [6, fc.constant([])],
        [2, fc.array(container(CHORES, false), { minLength: 1, maxLength: 2 })],
      ),
      sidecars: weighted<Partial<Container>[]>(
        [5, fc.constant([])],
        [1, fc.array(container([STAYS], true), { minLength: 1, maxLength: 2 })],
      ),
      volumes: fc.array(fc.constantFrom(...GOOD_VOLUMES), { maxLength: 4 }),
      odd: fc.array(odds, { maxLength: 3 }),
      grace: fc.constantFrom(0, 1, 1, 2),
      labels: fc.dictionary(fc.constantFrom('a', 'example.com/b', 'c.d-e_f'), fc.stringMatching(/^[a-z0-9]{0,20}$/)),
      annotations: fc.dictionary(fc.constantFrom('a', 'example.com/b'), fc.string({ unit: 'grapheme', maxLength: 40 })),
      debug: weighted([9, fc.constant(false)], [1, fc.constant(true)]),
      graceSeconds: weighted([4, fc.constant(undefined)], [1, fc.constantFrom(0, 1)]),
    })
    .map(({ apps, chores, sidecars, volumes, odd, grace, labels, annotations, debug, graceSeconds }): RandomPod => {
      const spec = {
        terminationGracePeriodSeconds: grace,
        volumes: volumes.map((source, index) => ({ name: `v${index}`, ...source })),
        initContainers: [
          ...chores.map((one, index) => ({ ...one, name: `i${index}` })),
          ...sidecars.map((one, index) => ({ ...one, name: `s${index}`, restartPolicy: 'Always' as const })),
        ],
        containers: apps.map((one, index) => ({ ...one, name: `c${index}` })),
      } as Spec;
      mountAll(spec);
      for (const { apply } of odd) apply(spec);
      return {
        pod: plain({
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { namespace: 'default', labels: { ...labels, random: 'yes' }, annotations },
          spec,
        }),
        debug: debug ? { name: 'debug', ...STAYS, targetContainerName: 'c0' } : undefined,
        oddities: odd.map(({ name }) => name),
        graceSeconds,
      };
    })
    .filter(({ pod }) => isValid(pod));
}

/** Everything out of the ordinary, by name. */
function oddities(hostFolder: string): fc.Arbitrary<Odd> {
  const short = (what: string, value: object): string => `${what} ${JSON.stringify(value)}`.slice(0, 160);
  const all = (spec: Spec): Container[] => [...spec.initContainers, ...spec.containers];
  const ofVolume = (source: Omit<Volume, 'name'>): Odd => ({
    name: short('volume', source),
    apply: (spec) => {
      const name = `v${spec.volumes.length}`;
      spec.volumes.push({ name, ...source } as Volume);
      const mount = { name, mountPath: `/odd-${name}` };
      for (const one of spec.containers) one.volumeMounts = [...(one.volumeMounts ?? []), mount];
    },
  });
  const ofPod = (fields: (typeof ODD_PODS)[number]): Odd => ({
    name: short('pod', fields),
    apply: (spec) => {
      const securityContext = { ...spec.securityContext, ...fields.securityContext };
      Object.assign(spec, fields, Object.keys(securityContext).length === 0 ? {} : { securityContext });
    },
  });
  const ofContainer = (fields: Partial<Container>): Odd => ({
    name: short('container', fields),
    apply: ({ containers }) => {
      const last = containers.at(-1);
      if (last === undefined) return;
      const securityContext = { ...last.securityContext, ...fields.securityContext };
      const env = [...(last.env ?? []), ...(fields.env ?? [])];
      Object.assign(last, fields, { env }, Object.keys(securityContext).length === 0 ? {} : { securityContext });
    },
  });
  const ofMount = (fields: Partial<VolumeMount>): Odd => ({
    name: short('mount', fields),
    apply: (spec) => {
      const [one] = spec.containers;
      const name = spec.volumes[0]?.name;
      if (name === undefined || one === undefined) return;
      one.volumeMounts = [...(one.volumeMounts ?? []), { name, mountPath: '/odd-mount', ...fields }];
      if (fields.mountPropagation !== 'Bidirectional') return;
      one.securityContext = { ...one.securityContext, privileged: true };
    },
  });
  const others: readonly Odd[] = [
    {
      name: 'a volume that nobody mounts',
      apply: (spec) => void spec.volumes.push({ name: 'unused', secret: { secretName: 'absent' } }),
    },
    {
      name: 'many ports',
      apply: (spec) => {
        const ports = Array.from({ length: 50 }, (_, index) => ({ containerPort: 9000 + index }));
        for (const one of all(spec)) one.ports = ports;
      },
    },
  ];
  const from = <T>(table: readonly T[], odd: (one: T) => Odd): fc.Arbitrary<Odd> => fc.constantFrom(...table.map(odd));
  return weighted(
    [10, from(ODD_PODS, ofPod)],
    [10, from(ODD_CONTAINERS, ofContainer)],
    [6, from(MOUNTS, ofMount)],
    [3, from(hostVolumes(hostFolder), ofVolume)],
    [3, from(ODD_VOLUMES, ofVolume)],
    [1, from(foreignVolumes(schemas), ofVolume)],
    [1, fc.constantFrom(...others)],
  );
}

function container(behaviours: readonly Partial<Container>[], lasting: boolean): fc.Arbitrary<Partial<Container>> {
  const sometimes = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    weighted([4, fc.constant(undefined)], [1, arbitrary]);
  const never = fc.constant(undefined);
  return fc
    .record({
      behaviour: fc.constantFrom(...behaviours),
      env: fc.subarray([...ENVIRONMENT], { maxLength: 5 }),
      resources: sometimes(fc.constantFrom(...RESOURCES)),
      imagePullPolicy: sometimes(fc.constantFrom('IfNotPresent' as const, 'Never' as const)),
      startupProbe: lasting ? sometimes(probe('startup')) : never,
      livenessProbe: lasting ? sometimes(probe('liveness')) : never,
      readinessProbe: lasting ? sometimes(probe('readiness')) : never,
      postStart: lasting ? sometimes(fc.constantFrom(...HOOKS)) : never,
      preStop: lasting ? sometimes(fc.constantFrom(...HOOKS, ...LAST_HOOKS)) : never,
    })
    .map(({ behaviour, env, postStart, preStop, ...fields }) => ({
      ...fields,
      ...behaviour,
      env: [{ name: 'NAME', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } } }, ...env],
      ...(postStart === undefined && preStop === undefined
        ? {}
        : {
            lifecycle: {
              ...(postStart === undefined ? {} : { postStart }),
              ...(preStop === undefined ? {} : { preStop }),
            },
          }),
    })) as fc.Arbitrary<Partial<Container>>;
}

function probe(kind: 'startup' | 'liveness' | 'readiness'): fc.Arbitrary<Probe> {
  const ofNode = kind !== 'readiness';
  return fc
    .record({
      action: fc.constantFrom(...PROBES),
      initialDelaySeconds: fc.constantFrom(undefined, 0, 1),
      timeoutSeconds: fc.constantFrom(undefined, 1),
      periodSeconds: fc.constantFrom(undefined, 1, 2),
      failureThreshold: fc.constantFrom(undefined, 1, 2),
      successThreshold: ofNode ? fc.constant(undefined) : fc.constantFrom(undefined, 2),
      terminationGracePeriodSeconds: ofNode ? fc.constantFrom(undefined, 1) : fc.constant(undefined),
    })
    .map(({ action, ...numbers }) => ({ ...action, ...numbers }) as Probe);
}

/** Each container mounts each volume. */
function mountAll(spec: Spec): void {
  for (const one of [...spec.initContainers, ...spec.containers]) {
    one.volumeMounts = spec.volumes.map(({ name }) => ({ name, mountPath: `/volumes/${name}` }));
  }
}

/** Containers are what costs time: most pods have one. */
function mostlyFew<T>(list: readonly T[]): readonly T[] {
  return list.length === 3 ? list : list.slice(0, 1);
}

function weighted<T>(...choices: readonly (readonly [number, fc.Arbitrary<T>])[]): fc.Arbitrary<T> {
  return fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })));
}

/** As it goes over the wire: what is undefined is not there. */
function plain(pod: object): Pod {
  return JSON.parse(JSON.stringify(pod)) as Pod;
}

function isValid(pod: Pod): boolean {
  return rules.review(resources.pods, { ...pod, metadata: { ...pod.metadata, name: 'random' } }).length === 0;
}
