import type { KubeObject } from '../../../../src/model/meta.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { type ResourceType, resources } from '../../../../src/model/resource.ts';
import type { Service, ServiceSpec } from '../../../../src/model/service.ts';
import { ObjectRules } from '../../../../src/standalone/admission.ts';
import { SchemaTree } from '../../../../src/standalone/schema/schema-tree.ts';

export const schemas = new SchemaTree();
export const rules = new ObjectRules(schemas);

/** A pod with one container "app"; `spec` and `container` replace fields. */
export function podWith(spec: object = {}, container: object = {}, metadata: object = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'default', ...metadata },
    spec: { containers: [{ name: 'app', image: 'nginx:1.27', ...container }], ...spec },
  } as unknown as Pod;
}

export function serviceWith(spec: object = {}, metadata: object = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default', ...metadata },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }], ...spec } as ServiceSpec,
  };
}

/** "field: message" of every mistake, as kubectl would show them. */
export function mistakesOf(type: ResourceType, object: object, previous?: KubeObject, subresource?: string): string[] {
  const errors =
    previous === undefined
      ? rules.review(type, object)
      : rules.validate(type, rules.defaults(type, object as KubeObject), rules.defaults(type, previous), subresource);
  return errors.map(({ field, message }) => `${field}: ${message}`);
}

export function podMistakes(spec: object = {}, container: object = {}, metadata: object = {}): string[] {
  return mistakesOf(resources.pods, podWith(spec, container, metadata));
}
