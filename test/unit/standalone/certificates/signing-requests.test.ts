import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SIGNERS } from '../../../../src/model/certificates.ts';
import { certificateRequest } from '../../../../src/model/x509/write-request.ts';
import { TestClient } from '../api-client.ts';
import { startEmbeddedApi } from '../embedded-api.ts';

const PATH = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
let started: Awaited<ReturnType<typeof startEmbeddedApi>>;
let admin: TestClient;
let node: TestClient;

beforeAll(async () => {
  started = await startEmbeddedApi();
  admin = await TestClient.fromKubeconfig(started.api.kubeconfigPath);
  node = await TestClient.fromKubeconfig(started.api.nodeKubeconfigPath);
});
afterAll(() => started.close());

const names = (more: object = {}) => ({
  commonName: 'system:node:node-1',
  organizations: ['system:nodes'],
  dnsNames: [] as string[],
  ipAddresses: [] as string[],
  ...more,
});
const csr = (name: string, spec: object = {}, about = names()) => ({
  apiVersion: 'certificates.k8s.io/v1',
  kind: 'CertificateSigningRequest',
  metadata: { name },
  spec: {
    request: Buffer.from(
      certificateRequest(about, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
    ).toString('base64'),
    signerName: SIGNERS.apiClient,
    usages: ['client auth'],
    ...spec,
  },
});
const approve = (name: string, type = 'Approved') =>
  admin.call('PATCH', `${PATH}/${name}/approval`, {
    contentType: 'application/strategic-merge-patch+json',
    body: { status: { conditions: [{ type, status: 'True', reason: 'KubectlApprove', message: 'm' }] } },
  });
const settled = async (
  name: string,
): Promise<{ conditions?: { type: string; message: string }[]; certificate?: string }> => {
  for (let i = 0; i < 200; i++) {
    const { status = {} } = (await admin.call('GET', `${PATH}/${name}`)).body;
    const over =
      status.certificate !== undefined || status.conditions?.some(({ type }: { type: string }) => type === 'Failed');
    if (over) return status;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${name} was not decided`);
};

describe('certificate signing requests', () => {
  it('say who asks, whatever they say themselves, and begin without a status', async () => {
    const lie = { username: 'system:admin', groups: ['system:masters'], uid: 'x' };
    const answer = await node.call('POST', PATH, {
      body: { ...csr('says-who', lie), status: { conditions: [{ type: 'Approved', status: 'True' }] } },
    });
    expect(answer.code).toBe(201);
    expect(answer.body.spec).toMatchObject({
      username: 'system:node:node-1',
      groups: ['system:nodes', 'system:authenticated'],
    });
    expect(answer.body.spec.uid).toBeUndefined();
    expect(answer.body.status).toEqual({});
  });

  it('are signed when somebody with the right approves them, once and for good', async () => {
    await admin.call('POST', PATH, { body: csr('me', {}, names({ commonName: 'jane', organizations: ['dev'] })) });
    expect(
      (await node.call('PATCH', `${PATH}/me/approval`, { body: {}, contentType: 'application/merge-patch+json' })).code,
    ).toBe(403);
    expect((await approve('me')).code).toBe(200);
    const { certificate = '' } = await settled('me');
    const issued = new X509Certificate(Buffer.from(certificate, 'base64'));
    expect(issued.subject).toBe('O=dev\nCN=jane');
    expect(issued.verify(new X509Certificate(started.api.authority).publicKey)).toBe(true);
    expect(issued.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(issued.ca).toBe(false);
    const gone = await admin.call('PUT', `${PATH}/me/approval`, {
      body: { ...(await admin.call('GET', `${PATH}/me`)).body, status: {} },
    });
    expect(gone.code).toBe(422);
    expect(gone.body.message).toContain('updates may not remove a condition of type "Approved"');
    const both = await approve('me', 'Denied');
    expect(both.body.message).toContain('Approved and Denied conditions are mutually exclusive');
    // Neither the request nor the certificate can be changed through other doors.
    const whole = (await admin.call('GET', `${PATH}/me`)).body;
    const put = await admin.call('PUT', `${PATH}/me`, {
      body: { ...whole, spec: { ...whole.spec, signerName: SIGNERS.kubeletServing }, status: {} },
    });
    expect(put.body.spec.signerName).toBe(SIGNERS.apiClient);
    expect(put.body.status.certificate).toBe(certificate);
    const certs = await admin.call('PUT', `${PATH}/me/status`, {
      body: {
        ...put.body,
        status: { ...put.body.status, certificate: Buffer.from(started.api.authority).toString('base64') },
      },
    });
    expect(certs.code).toBe(422);
  });

  it('of a node for itself are approved without being asked, for another node or for serving they wait', async () => {
    const usages = ['digital signature', 'client auth'];
    await node.call('POST', PATH, { body: csr('own', { signerName: SIGNERS.kubeletClient, usages }) });
    expect((await settled('own')).conditions?.[0]?.message).toBe(
      'Auto approving self kubelet client certificate after SubjectAccessReview.',
    );
    const foreign = csr(
      'foreign',
      { signerName: SIGNERS.kubeletClient, usages },
      names({ commonName: 'system:node:n2' }),
    );
    await node.call('POST', PATH, { body: foreign });
    const serving = { signerName: SIGNERS.kubeletServing, usages: ['digital signature', 'server auth'] };
    await node.call('POST', PATH, { body: csr('serving', serving, names({ ipAddresses: ['10.0.0.1'] })) });
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (const name of ['foreign', 'serving'])
      expect((await admin.call('GET', `${PATH}/${name}`)).body.status).toEqual({});
    await approve('serving');
    const { certificate = '' } = await settled('serving');
    expect(new X509Certificate(Buffer.from(certificate, 'base64')).checkIP('10.0.0.1')).toBe('10.0.0.1');
  });

  it.each([
    [
      'org',
      { signerName: SIGNERS.kubeletClient, usages: ['client auth', 'digital signature'] },
      names({ organizations: ['a'] }),
      'subject organization is not system:nodes',
    ],
    [
      'cn',
      { signerName: SIGNERS.kubeletServing, usages: ['server auth', 'digital signature'] },
      names({ commonName: 'x', dnsNames: ['d'] }),
      'subject common name does not begin with system:node:',
    ],
    [
      'san',
      { signerName: SIGNERS.kubeletClient, usages: ['client auth', 'digital signature'] },
      names({ dnsNames: ['d'] }),
      'DNS subjectAltNames are not allowed',
    ],
    [
      'nosan',
      { signerName: SIGNERS.kubeletServing, usages: ['server auth', 'digital signature'] },
      names(),
      'DNS or IP subjectAltName is required',
    ],
    [
      'usage',
      { signerName: SIGNERS.kubeletClient, usages: ['client auth'] },
      names(),
      'usages did not match [client auth digital signature key encipherment]',
    ],
    [
      'purpose',
      { usages: ['client auth', 'server auth'] },
      names(),
      'invalid usage for client certificate: server auth',
    ],
  ])('that a signer objects to (%s) fail', async (name, spec, about, message) => {
    expect((await admin.call('POST', PATH, { body: csr(`bad-${name}`, spec, about) })).code).toBe(201);
    await approve(`bad-${name}`);
    const failed = (await settled(`bad-${name}`)).conditions?.find(({ type }) => type === 'Failed');
    expect(failed).toMatchObject({ reason: 'SignerValidationFailure', message });
  });

  it.each([
    ['request', { request: Buffer.from('garbage').toString('base64') }, 'PEM block type must be CERTIFICATE REQUEST'],
    ['usages', { usages: [] }, 'spec.usages: Required value'],
    ['usages', { usages: ['fly'] }, 'Unsupported value: "fly"'],
    ['signer', { signerName: 'nobody' }, 'spec.signerName'],
    ['life', { expirationSeconds: 60 }, 'may not specify a duration less than 600 seconds'],
  ])('with a wrong %s are refused', async (_what, spec, message) => {
    const answer = await admin.call('POST', PATH, { body: csr('refused', spec) });
    expect(answer.code).toBe(422);
    expect(answer.body.message).toContain(message);
  });

  it('cannot make an administrator', async () => {
    const masters = csr('masters', {}, names({ organizations: ['system:masters'] }));
    const answer = await admin.call('POST', PATH, { body: masters });
    expect(answer.code).toBe(403);
    expect(answer.body.message).toContain('signer with system:masters group is not allowed');
  });

  it('are shown as kubectl shows them', async () => {
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const { body } = await admin.call('GET', `${PATH}?fieldSelector=spec.signerName=${SIGNERS.kubeletServing}`, {
      accept,
    });
    expect(body.columnDefinitions.map(({ name }: { name: string }) => name)).toEqual([
      'Name',
      'Age',
      'SignerName',
      'Requestor',
      'RequestedDuration',
      'Condition',
    ]);
    const row = body.rows.find(({ cells }: { cells: string[] }) => cells[0] === 'serving');
    expect(row.cells.slice(2)).toEqual([SIGNERS.kubeletServing, 'system:node:node-1', '<none>', 'Approved,Issued']);
  });
});

describe('bootstrap tokens', () => {
  const put = async (id: string, more: object, type = 'bootstrap.kubernetes.io/token') => {
    const stringData = {
      'token-id': id,
      'token-secret': '0123456789abcdef',
      'usage-bootstrap-authentication': 'true',
      ...more,
    };
    const body = { metadata: { name: `bootstrap-token-${id}` }, type, stringData };
    expect((await admin.call('POST', '/api/v1/namespaces/kube-system/secrets', { body })).code).toBe(201);
  };
  const who = async (token: string) => {
    const review = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
    const answer = await admin.with(token).call('POST', review, { body: {} });
    return answer.code === 201 ? answer.body.status.userInfo : answer.code;
  };

  it('stand for bootstrappers while their Secret says so', async () => {
    await put('goodaa', {
      'auth-extra-groups': 'system:bootstrappers:kubeadm:default-node-token',
      expiration: '2999-01-01T00:00:00Z',
    });
    expect(await who('goodaa.0123456789abcdef')).toMatchObject({
      username: 'system:bootstrap:goodaa',
      groups: ['system:bootstrappers', 'system:bootstrappers:kubeadm:default-node-token', 'system:authenticated'],
    });
    expect(await who('goodaa.0123456789abcdee')).toBe(401);
    expect(await who('nobody.0123456789abcdef')).toBe(401);
    const nodes = await admin.with('goodaa.0123456789abcdef').call('GET', '/api/v1/nodes');
    expect(nodes.code).toBe(403);
  });

  it.each([
    ['oldaaa', { expiration: '2020-01-01T00:00:00Z' }],
    ['badexp', { expiration: 'tomorrow' }],
    ['notuse', { 'usage-bootstrap-authentication': 'false' }],
    ['groups', { 'auth-extra-groups': 'system:masters' }],
    ['idbadx', { 'token-id': 'other0' }],
  ])('%s is refused', async (id, more) => {
    await put(id, more);
    expect(await who(`${id}.0123456789abcdef`)).toBe(401);
  });
});
