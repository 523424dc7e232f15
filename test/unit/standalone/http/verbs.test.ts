import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestClient } from '../api-client.ts';
import { startEmbeddedApi } from '../embedded-api.ts';

let server: Awaited<ReturnType<typeof startEmbeddedApi>>;
let client: TestClient;

beforeAll(async () => {
  server = await startEmbeddedApi();
  client = await TestClient.fromKubeconfig(server.api.kubeconfigPath);
});

afterAll(async () => {
  client.close();
  await server.close();
});

const CONFIGMAPS = '/api/v1/namespaces/default/configmaps';
const PODS = '/api/v1/namespaces/default/pods';
const configMap = (name: string, data: Record<string, string> = {}): object => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data,
});
const pod = (name: string, extra: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: { containers: [{ name: 'c', image: 'busybox' }], ...extra },
});

describe('create', () => {
  it('answers 201 with what was made, and 409 the second time', async () => {
    const created = await client.post(CONFIGMAPS, configMap('create-1', { a: '1' }));
    expect(created.code).toBe(201);
    expect(created.body).toMatchObject({ kind: 'ConfigMap', data: { a: '1' }, metadata: { namespace: 'default' } });
    expect(await client.post(CONFIGMAPS, configMap('create-1'))).toMatchObject({
      code: 409,
      body: {
        kind: 'Status',
        status: 'Failure',
        reason: 'AlreadyExists',
        message: 'configmaps "create-1" already exists',
        details: { name: 'create-1', kind: 'configmaps' },
        code: 409,
      },
    });
  });

  it('makes names from generateName', async () => {
    const body = { ...configMap(''), metadata: { generateName: 'gen-' } };
    const names = await Promise.all(
      [1, 2, 3].map(async () => (await client.post(CONFIGMAPS, body)).body.metadata.name),
    );
    expect(new Set(names).size).toBe(3);
    for (const name of names) expect(name).toMatch(/^gen-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  });

  it('refuses what cannot be', async () => {
    const cases: [string, unknown, number, string, RegExp][] = [
      [CONFIGMAPS, { ...configMap('x'), kind: 'Secret' }, 400, 'BadRequest', /the kind in the data \(Secret\)/],
      [CONFIGMAPS, { ...configMap('x'), apiVersion: 'v2' }, 400, 'BadRequest', /API version in the data \(v2\)/],
      [
        CONFIGMAPS,
        { ...configMap('x'), metadata: { name: 'x', namespace: 'other' } },
        400,
        'BadRequest',
        /does not match/,
      ],
      [
        CONFIGMAPS,
        { ...configMap('x'), metadata: { name: 'x', resourceVersion: '1' } },
        400,
        'BadRequest',
        /resourceVersion/,
      ],
      [CONFIGMAPS, configMap('Not_A_Name'), 422, 'Invalid', /ConfigMap "Not_A_Name" is invalid: metadata.name/],
      [CONFIGMAPS, { ...configMap('x'), data: { a: 1 } }, 400, 'BadRequest', /cannot be handled as a ConfigMap: data/],
      [CONFIGMAPS, [], 400, 'BadRequest', /no object/],
      ['/api/v1/namespaces/nowhere/configmaps', configMap('x'), 404, 'NotFound', /namespaces "nowhere" not found/],
    ];
    for (const [path, body, code, reason, message] of cases) {
      expect(await client.post(path, body), String(message)).toMatchObject({
        code,
        body: { reason, code, message: expect.stringMatching(message) },
      });
    }
  });

  it('treats unknown fields as fieldValidation says', async () => {
    const body = (name: string): object => ({ ...configMap(name), spce: { a: 1 } });
    const strict = await client.post(`${CONFIGMAPS}?fieldValidation=Strict`, body('unknown-1'));
    expect(strict).toMatchObject({
      code: 400,
      body: { message: expect.stringContaining('strict decoding error: unknown field "spce"') },
    });
    const warned = await client.post(CONFIGMAPS, body('unknown-2'));
    expect(warned.code).toBe(201);
    expect(warned.headers.warning).toMatch(/^299 - "unknown field \\"spce\\"/);
    expect(warned.body.spce).toBeUndefined();
    const ignored = await client.post(`${CONFIGMAPS}?fieldValidation=Ignore`, body('unknown-3'));
    expect(ignored).toMatchObject({ code: 201 });
    expect(ignored.headers.warning).toBeUndefined();
  });

  it('changes nothing on a dry run', async () => {
    const made = await client.post(`${CONFIGMAPS}?dryRun=All`, configMap('dry'));
    expect(made).toMatchObject({ code: 201, body: { metadata: { uid: expect.any(String) } } });
    expect((await client.get(`${CONFIGMAPS}/dry`)).code).toBe(404);
    await client.post(CONFIGMAPS, configMap('dry', { a: '1' }));
    expect((await client.patch(`${CONFIGMAPS}/dry?dryRun=All`, 'merge', { data: { a: '2' } })).body.data).toEqual({
      a: '2',
    });
    expect((await client.delete(`${CONFIGMAPS}/dry?dryRun=All`)).code).toBe(200);
    expect((await client.get(`${CONFIGMAPS}/dry`)).body.data).toEqual({ a: '1' });
  });

  it('reads YAML and protobuf bodies, and no others', async () => {
    const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\ndata:\n  a: "1"\n';
    expect((await client.post(CONFIGMAPS, yaml, { contentType: 'application/yaml' })).body.data).toEqual({ a: '1' });
    // runtime.Unknown{TypeMeta{"v1","ConfigMap"}, raw{metadata{name:"from-pb"}, data{"a":"1"}}}
    const field = (number: number, data: Buffer | string): Buffer =>
      Buffer.concat([Buffer.from([(number << 3) | 2, data.length]), Buffer.from(data)]);
    const raw = Buffer.concat([field(1, field(1, 'from-pb')), field(2, Buffer.concat([field(1, 'a'), field(2, '1')]))]);
    const type = Buffer.concat([field(1, 'v1'), field(2, 'ConfigMap')]);
    const body = Buffer.concat([Buffer.from('k8s\0'), field(1, type), field(2, raw)]);
    const made = await client.post(CONFIGMAPS, body, { contentType: 'application/vnd.kubernetes.protobuf' });
    expect(made.body).toMatchObject({ metadata: { name: 'from-pb' }, data: { a: '1' } });
    expect(await client.post(CONFIGMAPS, 'x', { contentType: 'text/plain' })).toMatchObject({
      code: 415,
      body: { reason: 'UnsupportedMediaType' },
    });
    expect(await client.post(CONFIGMAPS, '{"a":')).toMatchObject({ code: 400, body: { reason: 'BadRequest' } });
    const big = configMap('big', { a: 'x'.repeat(4 * 1024 * 1024) });
    expect(await client.post(CONFIGMAPS, big)).toMatchObject({ code: 413, body: { reason: 'RequestEntityTooLarge' } });
  });

  it('starts pods as Pending with their QoS class, whatever status they bring', async () => {
    const made = await client.post(PODS, { ...pod('fresh'), status: { phase: 'Running' } });
    expect(made.body.status).toMatchObject({ phase: 'Pending', qosClass: 'BestEffort' });
    expect(made.body.metadata.generation).toBe(1);
  });
});

describe('get and list', () => {
  it('answers 404 for what is not there, in the words of kubectl', async () => {
    expect(await client.get(`${PODS}/nobody`)).toMatchObject({
      code: 404,
      body: { reason: 'NotFound', message: 'pods "nobody" not found', details: { name: 'nobody', kind: 'pods' } },
    });
    expect(await client.get('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/x')).toMatchObject({
      code: 404,
      body: { message: 'endpointslices.discovery.k8s.io "x" not found', details: { group: 'discovery.k8s.io' } },
    });
    for (const path of [
      '/apis/apps/v1/deployments',
      '/api/v1/widgets',
      '/nothing',
      '/api/v1/namespaces/default/nodes',
    ]) {
      expect((await client.get(path)).code, path).toBe(404);
    }
  });

  it('answers 405 and 406', async () => {
    expect(await client.post(`${PODS}/x`, {})).toMatchObject({ code: 405, body: { reason: 'MethodNotAllowed' } });
    expect(await client.call('PUT', PODS)).toMatchObject({ code: 405 });
    expect(await client.get(PODS, { accept: 'text/html' })).toMatchObject({ code: 406 });
  });

  it('pages through a list as it was at the first page', async () => {
    const path = '/api/v1/namespaces/kube-public/configmaps';
    for (const name of ['p1', 'p2', 'p3', 'p4', 'p5']) await client.post(path, configMap(name, { v: 'old' }));
    const first = await client.get(`${path}?limit=2&labelSelector=`);
    expect(first.body.kind).toBe('ConfigMapList');
    expect(first.body.metadata.remainingItemCount).toBe(4);
    await client.delete(`${path}/p3`);
    await client.patch(`${path}/p4`, 'merge', { data: { v: 'new' } });
    const rest = await client.get(`${path}?limit=500&continue=${encodeURIComponent(first.body.metadata.continue)}`);
    expect(rest.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
    const seen = [...first.body.items, ...rest.body.items]
      .filter(({ metadata }: { metadata: { name: string } }) => metadata.name.startsWith('p'))
      .map(({ metadata, data }: { metadata: { name: string }; data: { v: string } }) => `${metadata.name}=${data.v}`);
    expect(seen).toEqual(['p1=old', 'p2=old', 'p3=old', 'p4=old', 'p5=old']);
    server.faults.compactHistory();
    await client.post(path, configMap('p6'));
    const late = await client.get(`${path}?limit=2&continue=${encodeURIComponent(first.body.metadata.continue)}`);
    expect(late).toMatchObject({ code: 410, body: { reason: 'Expired' } });
    expect(await client.get(`${path}?continue=nonsense`)).toMatchObject({ code: 400 });
  });

  it('knows resourceVersion and its match', async () => {
    const before = await client.post(CONFIGMAPS, configMap('rv', { v: '1' }));
    const version = before.body.metadata.resourceVersion;
    await client.patch(`${CONFIGMAPS}/rv`, 'merge', { data: { v: '2' } });
    const only = 'fieldSelector=metadata.name%3Drv';
    const exact = await client.get(`${CONFIGMAPS}?${only}&resourceVersion=${version}&resourceVersionMatch=Exact`);
    expect(exact.body.items[0].data).toEqual({ v: '1' });
    const newer = await client.get(`${CONFIGMAPS}?${only}&resourceVersion=${version}`);
    expect(newer.body.items[0].data).toEqual({ v: '2' });
    expect(await client.get(`${CONFIGMAPS}?resourceVersion=99999999`)).toMatchObject({
      code: 504,
      body: { details: { causes: [{ reason: 'ResourceVersionTooLarge' }] } },
    });
  });

  it('selects by labels and fields', async () => {
    await client.post(PODS, pod('sel-1', { nodeName: 'other' }));
    await client.post(PODS, pod('sel-2'));
    const names = async (query: string): Promise<string[]> =>
      (await client.get(`/api/v1/pods?${query}`)).body.items.map(
        (item: { metadata: { name: string } }) => item.metadata.name,
      );
    expect(await names('labelSelector=app%20in%20(sel-1,sel-2)')).toEqual(['sel-1', 'sel-2']);
    expect(await names('labelSelector=app%3Dsel-1')).toEqual(['sel-1']);
    expect(await names('labelSelector=!app')).toEqual([]);
    expect(await names('fieldSelector=spec.nodeName%3Dother,status.phase!%3DFailed')).toEqual(['sel-1']);
    expect(await names('fieldSelector=metadata.name%3Dsel-2,metadata.namespace%3Ddefault')).toEqual(['sel-2']);
    expect(await client.get('/api/v1/pods?fieldSelector=spec.color%3Dred')).toMatchObject({
      code: 400,
      body: { message: expect.stringContaining('field label not supported: spec.color') },
    });
    expect(await client.get('/api/v1/pods?labelSelector=a%20is%20b')).toMatchObject({ code: 400 });
  });

  it('shows tables and bare metadata to those who ask', async () => {
    const table = await client.get(`${PODS}?fieldSelector=metadata.name%3Dsel-1`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
    });
    expect(table.body).toMatchObject({
      kind: 'Table',
      rows: [
        { cells: expect.arrayContaining(['sel-1', '0/1', 'Pending', '0']), object: { kind: 'PartialObjectMetadata' } },
      ],
    });
    const partial = await client.get(`${PODS}/sel-1`, {
      accept: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
    });
    expect(partial.body).toMatchObject({ kind: 'PartialObjectMetadata', metadata: { name: 'sel-1' } });
    expect(partial.body.spec).toBeUndefined();
  });
});

describe('update', () => {
  it('conflicts on a stale version or another uid, and takes what names none', async () => {
    const { body } = await client.post(CONFIGMAPS, configMap('up', { v: '1' }));
    expect((await client.put(`${CONFIGMAPS}/up`, { ...body, data: { v: '2' } })).code).toBe(200);
    expect(await client.put(`${CONFIGMAPS}/up`, { ...body, data: { v: '3' } })).toMatchObject({
      code: 409,
      body: { reason: 'Conflict', message: expect.stringContaining('the object has been modified') },
    });
    expect((await client.put(`${CONFIGMAPS}/up`, configMap('up', { v: '4' }))).body.data).toEqual({ v: '4' });
    const stranger = { ...configMap('up'), metadata: { name: 'up', uid: 'else' } };
    expect(await client.put(`${CONFIGMAPS}/up`, stranger)).toMatchObject({ code: 409 });
    expect(await client.put(`${CONFIGMAPS}/up`, configMap('down'))).toMatchObject({ code: 400 });
    expect(await client.put(`${CONFIGMAPS}/absent`, configMap('absent'))).toMatchObject({ code: 404 });
  });

  it('keeps identity, status and spec apart', async () => {
    const { body } = await client.post(PODS, pod('apart'));
    const status = { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] };
    const labels = { app: 'changed' };
    const after = await client.put(`${PODS}/apart/status`, {
      ...body,
      metadata: { ...body.metadata, labels, creationTimestamp: '2001-01-01T00:00:00Z' },
      spec: { ...body.spec, containers: [{ name: 'c', image: 'other' }] },
      status,
    });
    expect(after.code).toBe(200);
    expect(after.body.spec.containers[0].image).toBe('busybox');
    expect(after.body.status).toMatchObject(status);
    expect(after.body.metadata).toMatchObject({
      labels,
      generation: 1,
      creationTimestamp: body.metadata.creationTimestamp,
    });
    const main = await client.patch(`${PODS}/apart`, 'strategic', {
      spec: { containers: [{ name: 'c', image: 'new' }] },
      status: { phase: 'Failed' },
    });
    expect(main.body.status.phase).toBe('Running');
    expect(main.body.spec.containers[0].image).toBe('new');
    expect(main.body.metadata.generation).toBe(2);
  });

  it('refuses changes to what cannot change', async () => {
    await client.post(PODS, pod('fixed'));
    expect(await client.patch(`${PODS}/fixed`, 'merge', { spec: { hostNetwork: true } })).toMatchObject({
      code: 422,
      body: {
        reason: 'Invalid',
        details: { causes: [expect.objectContaining({ field: expect.stringContaining('spec') })] },
      },
    });
    expect(await client.patch(`${PODS}/fixed`, 'merge', { metadata: { name: 'renamed' } })).toMatchObject({
      code: 400,
    });
  });
});

describe('delete', () => {
  it('removes at once what nothing holds', async () => {
    await client.post(CONFIGMAPS, configMap('gone'));
    expect((await client.delete(`${CONFIGMAPS}/gone`)).body).toMatchObject({
      status: 'Success',
      details: { name: 'gone', kind: 'configmaps' },
    });
    expect((await client.delete(`${CONFIGMAPS}/gone`)).code).toBe(404);
  });

  it('waits for finalizers', async () => {
    const { body } = await client.post(CONFIGMAPS, {
      ...configMap('held'),
      metadata: { name: 'held', finalizers: ['example.com/hold'] },
    });
    const marked = await client.delete(`${CONFIGMAPS}/held`);
    expect(marked.body.metadata).toMatchObject({
      deletionTimestamp: expect.any(String),
      deletionGracePeriodSeconds: 0,
    });
    // It cannot be undone by writing the object back.
    await client.put(`${CONFIGMAPS}/held`, { ...body, metadata: { ...body.metadata, resourceVersion: '' } });
    expect((await client.get(`${CONFIGMAPS}/held`)).body.metadata.deletionTimestamp).toBe(
      marked.body.metadata.deletionTimestamp,
    );
    await client.patch(`${CONFIGMAPS}/held`, 'merge', { metadata: { finalizers: null } });
    expect((await client.get(`${CONFIGMAPS}/held`)).code).toBe(404);
  });

  it('checks preconditions', async () => {
    const { body } = await client.post(CONFIGMAPS, configMap('pre'));
    const wrong = await client.delete(`${CONFIGMAPS}/pre`, { preconditions: { uid: 'other' } });
    expect(wrong).toMatchObject({
      code: 409,
      body: { reason: 'Conflict', message: expect.stringContaining('Precondition failed') },
    });
    expect((await client.delete(`${CONFIGMAPS}/pre`, { preconditions: { resourceVersion: '1' } })).code).toBe(409);
    expect((await client.delete(`${CONFIGMAPS}/pre`, { preconditions: { uid: body.metadata.uid } })).code).toBe(200);
  });

  it('gives running pods their grace, which can only be shortened, until the node agent ends it', async () => {
    await client.post(PODS, pod('slow', { terminationGracePeriodSeconds: 50, nodeName: 'n' }));
    const first = await client.delete(`${PODS}/slow`);
    expect(first.body.metadata).toMatchObject({ deletionGracePeriodSeconds: 50, generation: 2 });
    const deadline = Date.parse(first.body.metadata.deletionTimestamp);
    expect(
      (await client.delete(`${PODS}/slow`, { gracePeriodSeconds: 60 })).body.metadata.deletionGracePeriodSeconds,
    ).toBe(50);
    const shorter = await client.delete(`${PODS}/slow?gracePeriodSeconds=10`);
    expect(shorter.body.metadata.deletionGracePeriodSeconds).toBe(10);
    expect(Date.parse(shorter.body.metadata.deletionTimestamp)).toBe(deadline - 40_000);
    expect((await client.delete(`${PODS}/slow`, { gracePeriodSeconds: 0 })).code).toBe(200);
    expect((await client.get(`${PODS}/slow`)).code).toBe(404);
  });

  it('removes pods at once that are on no node or done', async () => {
    await client.post(PODS, pod('done', { nodeName: 'n' }));
    await client.patch(`${PODS}/done/status`, 'merge', { status: { phase: 'Succeeded' } });
    expect((await client.delete(`${PODS}/done`)).body.kind).toBe('Pod');
    expect((await client.get(`${PODS}/done`)).code).toBe(404);
  });

  it('deletes collections', async () => {
    const path = '/api/v1/namespaces/kube-public/secrets';
    for (const name of ['a', 'b', 'c']) {
      await client.post(path, { metadata: { name, labels: { drop: String(name !== 'b') } } });
    }
    const deleted = await client.delete(`${path}?labelSelector=drop%3Dtrue`);
    expect(deleted.body.items).toHaveLength(2);
    expect(
      (await client.get(path)).body.items.map((item: { metadata: { name: string } }) => item.metadata.name),
    ).toEqual(['b']);
  });

  it('empties namespaces before they go', async () => {
    await client.post('/api/v1/namespaces', { metadata: { name: 'brief' } });
    await client.post('/api/v1/namespaces/brief/configmaps', configMap('inside'));
    const marked = await client.delete('/api/v1/namespaces/brief');
    expect(marked.body.status.phase).toBe('Terminating');
    await expect.poll(async () => (await client.get('/api/v1/namespaces/brief')).code, { timeout: 10_000 }).toBe(404);
    expect((await client.get('/api/v1/namespaces/brief/configmaps')).body.items).toEqual([]);
  });
});

describe('patch', () => {
  it('takes the four kinds, and answers others with 415', async () => {
    await client.post(CONFIGMAPS, configMap('patched', { a: '1', b: '2' }));
    const path = `${CONFIGMAPS}/patched`;
    const json = await client.patch(path, 'json', [
      { op: 'test', path: '/data/a', value: '1' },
      { op: 'replace', path: '/data/a', value: '3' },
    ]);
    expect(json.body.data).toEqual({ a: '3', b: '2' });
    expect((await client.patch(path, 'merge', { data: { b: null } })).body.data).toEqual({ a: '3' });
    expect((await client.patch(path, 'strategic', { data: { c: '4' } })).body.data).toEqual({ a: '3', c: '4' });
    expect(await client.patch(path, 'json', [{ op: 'test', path: '/data/a', value: 'no' }])).toMatchObject({
      code: 422,
    });
    expect(await client.patch(path, 'json', { op: 'add' })).toMatchObject({ code: 400 });
    expect(await client.call('PATCH', path, { body: {}, contentType: 'application/json' })).toMatchObject({
      code: 415,
    });
    expect(await client.patch(path, 'merge', { metadata: { resourceVersion: '1' } })).toMatchObject({ code: 409 });
    expect(await client.patch(`${CONFIGMAPS}/absent`, 'merge', {})).toMatchObject({ code: 404 });
  });

  it('writes nothing when nothing changes', async () => {
    const before = await client.post(CONFIGMAPS, configMap('same', { a: '1' }));
    const after = await client.patch(`${CONFIGMAPS}/same`, 'merge', { data: { a: '1' } });
    expect(after.body.metadata.resourceVersion).toBe(before.body.metadata.resourceVersion);
  });

  it('applies on the server: creates, owns, conflicts, and gives way to force', async () => {
    const path = `${CONFIGMAPS}/applied`;
    const made = await client.patch(`${path}?fieldManager=one`, 'apply', configMap('applied', { a: '1', b: '1' }));
    expect(made.code).toBe(201);
    expect(made.body.metadata.managedFields).toMatchObject([
      { manager: 'one', operation: 'Apply', fieldsV1: { 'f:data': { 'f:a': {}, 'f:b': {} } } },
    ]);
    const other = await client.patch(`${path}?fieldManager=two`, 'apply', configMap('applied', { a: '2' }));
    expect(other).toMatchObject({
      code: 409,
      body: {
        reason: 'Conflict',
        message: 'Apply failed with 1 conflict: conflict with "one" using v1: .data.a',
        details: { causes: [{ reason: 'FieldManagerConflict', field: '.data.a' }] },
      },
    });
    const forced = await client.patch(`${path}?fieldManager=two&force=true`, 'apply', configMap('applied', { a: '2' }));
    expect(forced.body.data).toEqual({ a: '2', b: '1' });
    // What its only owner leaves out goes.
    const less = await client.patch(`${path}?fieldManager=one`, 'apply', configMap('applied', {}));
    expect(less.body.data).toEqual({ a: '2' });
    expect(await client.patch(path, 'apply', configMap('applied'))).toMatchObject({
      code: 400,
      body: { message: expect.stringContaining('fieldManager') },
    });
  });
});

describe('subresources', () => {
  it('binds a pod once', async () => {
    await client.post(PODS, pod('free', { schedulingGates: [{ name: 'wait' }] }));
    await client.patch(`${PODS}/free`, 'merge', { spec: { schedulingGates: null } });
    const { spec } = (await client.get(`${PODS}/free`)).body;
    const answer = await client.post(`${PODS}/free/binding`, { target: { kind: 'Node', name: 'n2' } });
    expect(answer.code).toBe(spec.nodeName === undefined ? 201 : 409);
    expect((await client.post(`${PODS}/free/binding`, { target: { kind: 'Node', name: 'n3' } })).body).toMatchObject({
      reason: 'Conflict',
      message: expect.stringContaining('is already assigned to node'),
    });
  });

  it('evicts', async () => {
    await client.post(PODS, pod('evicted', { nodeName: 'n' }));
    const answer = await client.post(`${PODS}/evicted/eviction`, {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: 'evicted' },
      deleteOptions: { gracePeriodSeconds: 7 },
    });
    expect(answer).toMatchObject({ code: 201, body: { status: 'Success' } });
    expect((await client.get(`${PODS}/evicted`)).body.metadata.deletionGracePeriodSeconds).toBe(7);
  });

  it('issues tokens that TokenReview knows, bound to a pod', async () => {
    const { body } = await client.post(PODS, pod('holder'));
    const path = '/api/v1/namespaces/default/serviceaccounts/default/token';
    const spec = {
      audiences: [],
      expirationSeconds: 1200,
      boundObjectRef: { kind: 'Pod', name: 'holder', uid: body.metadata.uid },
    };
    const { token } = (await client.post(path, { spec })).body.status;
    const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
    expect(claims).toMatchObject({
      sub: 'system:serviceaccount:default:default',
      'kubernetes.io': { pod: { name: 'holder' } },
    });
    const review = await client.post('/apis/authentication.k8s.io/v1/tokenreviews', { spec: { token } });
    expect(review.body.status).toMatchObject({
      authenticated: true,
      user: { username: 'system:serviceaccount:default:default' },
    });
    const forged = `${token.slice(0, -6)}AAAAAA`;
    expect(
      (await client.post('/apis/authentication.k8s.io/v1/tokenreviews', { spec: { token: forged } })).body.status
        .authenticated,
    ).toBe(false);
    expect(await client.post(path, { spec: { expirationSeconds: 5 } })).toMatchObject({ code: 422 });
    expect(
      await client.post(path, { spec: { boundObjectRef: { kind: 'Pod', name: 'holder', uid: 'x' } } }),
    ).toMatchObject({ code: 409 });
    // The token's holder may look around, no more.
    const holder = client.with(token);
    expect((await holder.get('/version')).code).toBe(200);
    expect(await holder.get(PODS)).toMatchObject({
      code: 403,
      body: { reason: 'Forbidden', message: expect.stringContaining('cannot list resource "pods"') },
    });
    holder.close();
  });

  it('says that it has no way to a node for logs', async () => {
    await client.post(PODS, pod('silent', { nodeName: 'n9' }));
    expect(await client.get(`${PODS}/silent/log`)).toMatchObject({
      code: 404,
      body: { message: 'nodes "n9" not found' },
    });
    await client.post('/api/v1/nodes', { metadata: { name: 'n9' } });
    expect(await client.get(`${PODS}/silent/log`)).toMatchObject({ code: 501, body: { reason: 'NotImplemented' } });
    expect(await client.get(`${PODS}/silent/log?container=x`)).toMatchObject({ code: 400 });
  });
});

describe('who asks', () => {
  it('tells 401 from 403', async () => {
    const nobody = client.with(undefined);
    expect(await nobody.get(PODS)).toMatchObject({ code: 401, body: { reason: 'Unauthorized' } });
    expect((await nobody.get('/healthz')).text).toBe('ok');
    const wrong = client.with('wrong');
    expect((await wrong.get(PODS)).code).toBe(401);
    const node = await TestClient.fromKubeconfig(server.api.nodeKubeconfigPath);
    expect((await node.get('/api/v1/pods')).code).toBe(200);
    expect(await node.post('/api/v1/namespaces/default/services', {})).toMatchObject({ code: 403 });
    expect(
      (await node.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {})).body.status.userInfo,
    ).toMatchObject({
      username: 'system:node:node-1',
    });
    for (const one of [nobody, wrong, node]) one.close();
  });

  it('lets administrators act as others, and nobody else', async () => {
    const as = { headers: { 'impersonate-user': 'jane' } };
    expect((await client.get(PODS, as)).code).toBe(403);
    const node = await TestClient.fromKubeconfig(server.api.nodeKubeconfigPath);
    expect((await node.get(PODS, as)).code).toBe(403);
    node.close();
  });

  it('answers what may be done', async () => {
    const ask = async (spec: object): Promise<boolean> =>
      (await client.post('/apis/authorization.k8s.io/v1/subjectaccessreviews', { spec })).body.status.allowed;
    const resourceAttributes = { verb: 'update', resource: 'pods', subresource: 'status', namespace: 'default' };
    expect(await ask({ user: 'x', groups: ['system:nodes', 'system:authenticated'], resourceAttributes })).toBe(true);
    expect(await ask({ user: 'x', groups: ['system:authenticated'], resourceAttributes })).toBe(false);
    expect(
      await ask({ user: 'x', groups: ['system:masters'], nonResourceAttributes: { path: '/metrics', verb: 'get' } }),
    ).toBe(true);
  });
});

describe('discovery', () => {
  it('shows the same resources in both notations', async () => {
    const aggregated = await client.get('/api', {
      accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json',
    });
    expect(aggregated.headers['content-type']).toContain('as=APIGroupDiscoveryList');
    const legacy = await client.get('/api/v1');
    const own = legacy.body.resources.filter(({ name }: { name: string }) => !name.includes('/'));
    const listed = aggregated.body.items[0].versions[0].resources;
    expect(listed.map(({ resource }: { resource: string }) => resource).sort()).toEqual(
      own.map(({ name }: { name: string }) => name).sort(),
    );
    expect((await client.get('/apis')).body.groups.map(({ name }: { name: string }) => name)).toContain(
      'discovery.k8s.io',
    );
    expect((await client.get('/apis/discovery.k8s.io/v1')).body.resources[0].kind).toBe('EndpointSlice');
    expect((await client.get('/version')).body).toMatchObject({ major: '1', minor: '34' });
  });

  it('describes every stored kind in OpenAPI v3, and lets clients keep it', async () => {
    const index = (await client.get('/openapi/v3')).body.paths;
    expect(Object.keys(index)).toContain('api/v1');
    const url = index['api/v1'].serverRelativeURL;
    const document = await client.get(url);
    const pods = document.body.paths['/api/v1/namespaces/{namespace}/pods/{name}'];
    expect(pods.patch.parameters.map(({ name }: { name: string }) => name)).toContain('fieldValidation');
    const again = await client.get(url, { headers: { 'if-none-match': String(document.headers.etag) } });
    expect(again.code).toBe(304);
    expect(
      (await client.get('/openapi/v2', { accept: 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf' })).code,
    ).toBe(200);
  });
});
