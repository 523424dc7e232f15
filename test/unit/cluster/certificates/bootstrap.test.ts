import { X509Certificate } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootstrapClient } from '../../../../src/cluster/certificates/bootstrap.ts';
import { keyText, newKey } from '../../../../src/cluster/certificates/certificate-pair.ts';
import { CLIENT_USAGES, nodeNames } from '../../../../src/cluster/certificates/node-names.ts';
import { digestedName } from '../../../../src/cluster/certificates/signing-request.ts';
import { loadKubeconfig } from '../../../../src/cluster/kubeconfig.ts';
import { SystemClock } from '../../../../src/kit/clock.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { CertificateSigningRequest } from '../../../../src/model/certificates.ts';
import { resources } from '../../../../src/model/resource.ts';
import { NODE_NAME } from '../../standalone/embedded-api.ts';
import { type SigningApi, startSigningApi, writeBootstrapKubeconfig } from './signing-api.ts';

const CSR = resources.certificatesigningrequests;
let signing: SigningApi;
let stop: AbortController;
let current: string;

beforeEach(async () => {
  stop = new AbortController();
  signing = await startSigningApi();
  current = join(signing.bootstrap.certDir, 'kubelet-client-current.pem');
});
afterEach(async () => {
  stop.abort();
  await signing.close();
});

const run = (): Promise<boolean> => {
  const { connect, log, bootstrap } = signing;
  return bootstrapClient(bootstrap, { connect, log, clock: new SystemClock() }, stop.signal);
};
const requests = async (): Promise<CertificateSigningRequest[]> =>
  (await signing.admin.list<CertificateSigningRequest>(CSR, {})).items;
const until = async (what: () => boolean | Promise<boolean>): Promise<void> => {
  for (let i = 0; i < 500; i++) {
    if (await what()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`did not come: ${what}\n${signing.lines.map(({ text }) => text).join('\n')}`);
};
/** Another node may ask, but is not approved by itself: it waits until somebody says yes or no. */
const holdApproval = async (): Promise<void> => {
  const admin = JSON.parse(await readFile(signing.api.kubeconfigPath, 'utf8'));
  Object.assign(admin.users[0].user, { as: 'system:node:other', 'as-groups': ['system:nodes'] });
  await writeFile(signing.bootstrap.bootstrapKubeconfig, JSON.stringify(admin));
};
const decide = async (name: string, type: 'Approved' | 'Denied'): Promise<void> => {
  const csr = await signing.admin.get<CertificateSigningRequest>(CSR, { name });
  const condition = { type, status: 'True' as const, reason: 'Test', message: 'because' };
  const next = { ...csr, status: { conditions: [condition] } };
  await signing.admin.update(CSR, { name, subresource: 'approval' }, next);
};

describe('TLS bootstrap', () => {
  it('ends with a client certificate, its link and a kubeconfig that the API server knows as the node', async () => {
    expect(await run()).toBe(true);
    const { bootstrap, connect } = signing;
    expect((await lstat(current)).isSymbolicLink()).toBe(true);
    expect(await readlink(current)).toMatch(/\/kubelet-client-\d{4}(-\d\d){5}\.pem$/);
    expect((await stat(current)).mode & 0o777).toBe(0o600);
    expect((await stat(bootstrap.kubeconfig)).mode & 0o777).toBe(0o600);
    const text = await readFile(current, 'utf8');
    expect(text).toMatch(/BEGIN CERTIFICATE[\s\S]*BEGIN EC PRIVATE KEY/);
    const certificate = new X509Certificate(text);
    expect(certificate.subject).toBe(`O=system:nodes\nCN=system:node:${NODE_NAME}`);
    expect(await readdir(bootstrap.certDir)).toHaveLength(2);
    const connection = await loadKubeconfig(bootstrap.kubeconfig);
    expect(connection.certFile).toBe(current);
    const node = connect(connection);
    expect((await node.list(resources.nodes, {})).items).toEqual([]);
    await expect(node.delete(resources.secrets, { namespace: 'kube-system', name: 'x' })).rejects.toMatchObject({
      code: 'Forbidden',
    });
    const [csr] = await requests();
    expect(csr?.metadata.name).toMatch(/^node-csr-[\w-]{43}$/);
    expect(csr?.spec).toMatchObject({
      signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
      usages: ['digital signature', 'client auth'],
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:authenticated'],
    });
    expect(csr?.status?.conditions?.[0]).toMatchObject({
      type: 'Approved',
      reason: 'AutoApproved',
      message: 'Auto approving kubelet client certificate after SubjectAccessReview.',
    });
    expect(await run()).toBe(false);
    expect(await requests()).toHaveLength(1);
  });

  it('finds its waiting request again after a crash, and goes on when somebody approves it', async () => {
    await holdApproval();
    const first = run();
    await until(async () => (await requests()).length === 1);
    stop.abort(new Error('kill -9'));
    await expect(first).rejects.toThrowError();
    const name = (await requests())[0]?.metadata.name ?? '';
    stop = new AbortController();
    const second = run();
    await until(() => signing.lines.some(({ text }) => text.includes('already exists, reusing')));
    await decide(name, 'Approved');
    expect(await second).toBe(true);
    expect(await requests()).toHaveLength(1);
  });

  it('takes up what was issued while it was dead', async () => {
    await holdApproval();
    const first = run();
    await until(async () => (await requests()).length === 1);
    stop.abort(new Error('kill -9'));
    await expect(first).rejects.toThrowError();
    const name = (await requests())[0]?.metadata.name ?? '';
    await decide(name, 'Approved');
    await until(async () => (await requests())[0]?.status?.certificate !== undefined);
    stop = new AbortController();
    expect(await run()).toBe(true);
    expect(await requests()).toHaveLength(1);
  });

  it('says who denied it and why, and tries again', async () => {
    await holdApproval();
    const done = run();
    await until(async () => (await requests()).length === 1);
    const name = (await requests())[0]?.metadata.name ?? '';
    await decide(name, 'Denied');
    await until(() => signing.lines.some(({ text }) => text.startsWith('error no client certificate yet')));
    expect(signing.lines.find(({ text }) => text.startsWith('error'))?.fields['error']).toBe(
      `certificate signing request is denied, reason: Test, message: because (${name})`,
    );
    await signing.admin.delete(CSR, { name });
    await until(async () => (await requests()).length === 1 && (await requests())[0]?.status?.conditions === undefined);
    await decide(name, 'Approved');
    expect(await done).toBe(true);
  });

  it('waits for a token that is not good yet', async () => {
    await writeBootstrapKubeconfig(signing.api, signing.bootstrap.bootstrapKubeconfig, 'abcdef.ffffffffffffffff');
    const done = run();
    await until(() => signing.lines.some(({ text }) => text.startsWith('error no client certificate yet')));
    await writeBootstrapKubeconfig(signing.api, signing.bootstrap.bootstrapKubeconfig);
    expect(await done).toBe(true);
  });

  it.each([
    ['a garbage key', async (dir: string) => writeFile(join(dir, 'kubelet-client.key.tmp'), 'garbage')],
    [
      'half a key',
      async (dir: string) => writeFile(join(dir, 'kubelet-client.key.tmp'), keyText(await newKey()).slice(0, 90)),
    ],
    [
      'half a certificate',
      async (dir: string) =>
        writeFile(join(dir, 'kubelet-client-2026.pem'), '-----BEGIN CERTIF').then(() =>
          symlink(join(dir, 'kubelet-client-2026.pem'), join(dir, 'kubelet-client-current.pem')),
        ),
    ],
    [
      'a link to nothing',
      async (dir: string) => symlink(join(dir, 'gone.pem'), join(dir, 'kubelet-client-current.pem')),
    ],
    ['an unfinished write', async (dir: string) => writeFile(join(dir, 'kubelet-client-2026.pem.new'), 'x')],
    [
      'a link that was not put in place',
      async (dir: string) => symlink(join(dir, 'gone.pem'), join(dir, 'kubelet-client-updated.pem')),
    ],
  ])('recovers from %s', async (what, damage) => {
    const { certDir } = signing.bootstrap;
    await mkdir(certDir, { recursive: true });
    await damage(certDir);
    expect(await run()).toBe(true);
    expect(new X509Certificate(await readFile(current)).subject).toContain(NODE_NAME);
    const names = await readdir(certDir);
    expect(names.filter((name) => name.endsWith('.new') || name.endsWith('.tmp') || name.includes('updated'))).toEqual(
      [],
    );
    const warned = signing.lines.some(({ text }) => text.startsWith('warn'));
    expect(warned).toBe(what !== 'an unfinished write');
  });

  it('keeps its request when it died between the certificate and the kubeconfig', async () => {
    await run();
    const before = await readFile(current, 'utf8');
    await rm(signing.bootstrap.kubeconfig);
    expect(await run()).toBe(true);
    expect(await requests()).toHaveLength(1);
    expect(new X509Certificate(await readFile(current)).fingerprint256).toBe(
      new X509Certificate(before).fingerprint256,
    );
    expect((await loadKubeconfig(signing.bootstrap.kubeconfig)).certFile).toBe(current);
  });

  it('does it again with a new key when the certificate has expired', async () => {
    await run();
    const { connect, log, bootstrap } = signing;
    const before = await readFile(current, 'utf8');
    const later = new ManualClock(Date.now() + 2 * 365 * 86_400_000);
    expect(await bootstrapClient(bootstrap, { connect, log, clock: later }, stop.signal)).toBe(true);
    expect(signing.lines.find(({ fields }) => String(fields['why']).includes('is expired'))).toBeDefined();
    // The request of then is still there under the old key's name, with the certificate that is of no use.
    expect(signing.lines.some(({ text }) => text.includes('asking again with a new key'))).toBe(true);
    expect(await requests()).toHaveLength(2);
    const after = await readFile(current, 'utf8');
    expect(new X509Certificate(after).publicKey.equals(new X509Certificate(before).publicKey)).toBe(false);
  });

  it('does it again for a kubeconfig that is garbage or whose certificate is gone', async () => {
    await run();
    await writeFile(signing.bootstrap.kubeconfig, '{"half":');
    expect(await run()).toBe(true);
    await rm(current);
    expect(await run()).toBe(true);
    expect((await loadKubeconfig(signing.bootstrap.kubeconfig)).certFile).toBe(current);
  });
});

describe('the name of a bootstrap request', () => {
  it('is the same for the same wishes, and another for another key, node or usage', async () => {
    const key = await newKey();
    const wishes = { names: nodeNames('a'), key, usages: CLIENT_USAGES };
    expect(digestedName(wishes)).toBe(digestedName({ ...wishes }));
    const others = [
      { ...wishes, key: await newKey() },
      { ...wishes, names: nodeNames('b') },
      { ...wishes, usages: ['client auth'] },
    ];
    expect(new Set([wishes, ...others].map(digestedName)).size).toBe(4);
  });
});
