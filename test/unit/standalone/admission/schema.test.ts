import { describe, expect, it } from 'vitest';
import { resources } from '../../../../src/model/resource.ts';
import { OpenApiDocuments } from '../../../../src/standalone/schema/openapi.ts';
import type { ListSchema, ObjectSchema, Schema } from '../../../../src/standalone/schema/port.ts';
import { isUnknownField, structuralErrors } from '../../../../src/standalone/schema/structural-errors.ts';
import { podWith, rules, schemas } from './object-fixtures.ts';

const pod = schemas.rootOf(resources.pods) as ObjectSchema;

describe('the schema tree', () => {
  it('serves every kind, with metadata', () => {
    for (const type of Object.values(resources)) {
      expect(schemas.rootOf(type)?.fields.get('metadata')?.schema, type.kind).toMatchObject({ kind: 'object' });
    }
    expect(schemas.rootOf({ group: 'apps', version: 'v1', kind: 'Deployment' })).toBeUndefined();
    expect(schemas.rootOf({ group: 'apps', version: 'v1', kind: 'Pod' })).toBeUndefined();
    expect(schemas.rootOf({ group: '', version: 'v1', kind: 'PodSpec' })).toBeUndefined();
  });

  it('parses every definition', () => {
    const seen = new Set<Schema>();
    const visit = (schema: Schema): void => {
      if (seen.has(schema)) return;
      seen.add(schema);
      if (schema.kind === 'object') for (const field of schema.fields.values()) visit(field.schema);
      else if (schema.kind === 'list') visit(schema.item);
      else if (schema.kind === 'map') visit(schema.value);
    };
    for (const name of schemas.names()) visit(schemas.named(name));
    expect(seen.size).toBeGreaterThan(500);
  });

  it('tells how lists merge', () => {
    const ports = schemas.at(pod, ['spec', 'containers', 0, 'ports']) as ListSchema;
    expect(ports).toMatchObject({
      patch: 'merge',
      patchKey: 'containerPort',
      listType: 'map',
      keys: ['containerPort', 'protocol'],
    });
    expect((ports.item as ObjectSchema).fields.get('protocol')?.preset).toBe('TCP');
    expect(schemas.mergeKeyOf(schemas.at(pod, ['spec', 'volumes']))).toBe('name');
    expect(schemas.mergeKeyOf(schemas.at(pod, ['spec', 'tolerations']))).toBeUndefined();
    expect(schemas.at(pod, ['metadata', 'finalizers'])).toMatchObject({ patch: 'merge', listType: 'set' });
    expect(schemas.at(pod, ['spec', 'volumes', 0])).toMatchObject({ retainKeys: true });
    expect(schemas.at(pod, ['spec', 'nodeSelector'])).toMatchObject({ kind: 'map', atomic: true });
    const volume = schemas.rootOf(resources.persistentvolumes) as ObjectSchema;
    expect(schemas.at(volume, ['spec', 'claimRef'])).toMatchObject({ atomic: false });
    expect(schemas.at(pod, ['spec', 'nothing', 'here'])).toBeUndefined();
  });
});

describe('structuralErrors', () => {
  const errorsOf = (spec: object, container: object = {}): string[] =>
    structuralErrors(pod, podWith(spec, container)).map(({ field, message }) => `${field}: ${message}`);

  it('knows the whole pod of 1.36', () => {
    const volumes = [
      {
        name: 'a',
        projected: { sources: [{ podCertificate: { signerName: 'x/y', keyType: 'ED25519', keyPath: 'k' } }] },
      },
      { name: 'b', image: { reference: 'r', pullPolicy: 'Never' } },
      { name: 'c', scaleIO: { gateway: 'g', system: 's', secretRef: { name: 'n' } } },
    ];
    expect(
      errorsOf({
        volumes,
        hostnameOverride: 'h',
        resourceClaims: [{ name: 'x' }],
        schedulingGroup: { podGroupName: 'g' },
      }),
    ).toEqual([]);
    expect(
      errorsOf({}, { restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }] }),
    ).toEqual([]);
  });

  it('names unknown fields and what was meant', () => {
    expect(errorsOf({ restartpolicy: 'Never' }, { imagePullpolicy: 'Always', comand: ['sh'], zzz: 1 })).toEqual([
      'spec.containers[0].imagePullpolicy: unknown field "spec.containers[0].imagePullpolicy", did you mean "imagePullPolicy"?',
      'spec.containers[0].comand: unknown field "spec.containers[0].comand", did you mean "command"?',
      'spec.containers[0].zzz: unknown field "spec.containers[0].zzz"',
      'spec.restartpolicy: unknown field "spec.restartpolicy", did you mean "restartPolicy"?',
    ]);
    const errors = structuralErrors(pod, podWith({ x: 1, terminationGracePeriodSeconds: 'x' }));
    expect(errors.map(isUnknownField)).toEqual([true, false]);
  });

  it.each([
    [{ terminationGracePeriodSeconds: '30' }, 'must be a whole number, not a string'],
    [{ terminationGracePeriodSeconds: 1.5 }, 'must be a whole number'],
    [{ priority: 3_000_000_000 }, 'must fit in int32'],
    [{ hostNetwork: 'yes' }, 'must be true or false, not a string'],
    [{ containers: {} }, 'must be a list, not an object'],
    [{ nodeSelector: { disk: 7 } }, 'must be a string, not a number'],
    [{ overhead: { cpu: '1 core' } }, 'quantities must match'],
    [{ overhead: { cpu: true } }, 'must be a quantity such as "500m", not a boolean'],
    [{ dnsConfig: 'x' }, 'must be an object, not a string'],
    [{ dnsConfig: [] }, 'must be an object, not a list'],
  ])('%j', (spec, message) => {
    const [error, ...more] = errorsOf(spec);
    expect(more).toEqual([]);
    expect(error).toContain(message);
  });

  it('takes null for absent, and checks times and base64', () => {
    expect(structuralErrors(pod, { metadata: { creationTimestamp: null }, spec: null })).toEqual([]);
    const secret = schemas.rootOf(resources.secrets) as ObjectSchema;
    const bad = structuralErrors(secret, {
      metadata: { creationTimestamp: 'today' },
      data: { a: 'abc', b: 'YWJj\n', 'c.d': 1 },
    });
    expect(bad.map(({ field, reason }) => `${field} ${reason}`)).toEqual([
      'metadata.creationTimestamp FieldValueInvalid',
      'data[a] FieldValueInvalid',
      'data[c.d] FieldValueTypeInvalid',
    ]);
    expect(structuralErrors(pod, 'pod')).toMatchObject([{ reason: 'FieldValueTypeInvalid' }]);
  });
});

describe('review', () => {
  it('reports structure and meaning together, and no consequence twice', () => {
    const mistakes = rules.review(
      resources.pods,
      podWith({ restartPolicy: 'Allways', hostname: 'A_b' }, { ports: '80', image: '', nam: 'x' }),
    );
    expect(mistakes.map(({ field }) => field).sort()).toEqual([
      'spec.containers[0].image',
      'spec.containers[0].nam',
      'spec.containers[0].ports',
      'spec.hostname',
      'spec.restartPolicy',
    ]);
    expect(mistakes.find(({ field }) => field === 'spec.restartPolicy')?.message).toBe(
      'Unsupported value: "Allways": supported values: "Always", "Never", "OnFailure"; did you mean "Always"?',
    );
  });
});

describe('OpenApiDocuments', () => {
  const documents = new OpenApiDocuments(schemas, 'v1.36.0');
  const resolves = (document: unknown, prefix: string, definitions: Record<string, unknown>): void => {
    const text = JSON.stringify(document);
    for (const [, name] of text.matchAll(/"\$ref":"([^"]+)"/g)) {
      expect(name?.startsWith(prefix) === true && Object.hasOwn(definitions, name.slice(prefix.length)), name).toBe(
        true,
      );
    }
  };

  it('has a complete v3 document for each group and version', () => {
    expect(documents.groupVersions()).toEqual([
      'api/v1',
      'apis/discovery.k8s.io/v1',
      'apis/coordination.k8s.io/v1',
      'apis/certificates.k8s.io/v1',
      'apis/certificates.k8s.io/v1beta1',
      'apis/networking.k8s.io/v1',
      'apis/node.k8s.io/v1',
      'apis/storage.k8s.io/v1',
      'apis/scheduling.k8s.io/v1',
    ]);
    for (const path of documents.groupVersions()) {
      const document = documents.v3(path) as { components: { schemas: Record<string, unknown> } };
      resolves(document, '#/components/schemas/', document.components.schemas);
    }
    expect(documents.v3('apis/apps/v1')).toBeUndefined();
  });

  it('shows what kubectl looks for', () => {
    const document = documents.v3('api/v1') as {
      paths: Record<string, { patch: { parameters: { name: string }[]; requestBody: { content: object } } }>;
      components: {
        schemas: Record<string, { properties: Record<string, object>; 'x-kubernetes-group-version-kind': unknown }>;
      };
    };
    const { patch } = document.paths['/api/v1/namespaces/{namespace}/pods/{name}'] ?? { patch: undefined };
    expect(patch?.parameters.map(({ name }) => name)).toEqual(expect.arrayContaining(['dryRun', 'fieldValidation']));
    expect(Object.keys(patch?.requestBody.content ?? {})).toContain('application/strategic-merge-patch+json');
    const definition = document.components.schemas['io.k8s.api.core.v1.Pod'];
    expect(definition?.['x-kubernetes-group-version-kind']).toEqual([{ group: '', version: 'v1', kind: 'Pod' }]);
    expect(document.components.schemas['io.k8s.api.core.v1.PodSpec']?.properties['volumes']).toMatchObject({
      'x-kubernetes-patch-strategy': 'merge,retainKeys',
      'x-kubernetes-patch-merge-key': 'name',
      'x-kubernetes-list-type': 'map',
    });
  });

  it('has a complete v2 document', () => {
    const document = documents.v2() as { definitions: Record<string, unknown> };
    resolves(document, '#/definitions/', document.definitions);
  });
});
