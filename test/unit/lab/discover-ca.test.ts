import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '../../harness/project-root.ts';
import { tryCommand } from '../../harness/run-command.ts';
import { TestPki } from '../cluster/test-pki.ts';

const ID = 'abcdef';
const SECRET = '0123456789abcdef';

/** As the bootstrap signer of kube-controller-manager signs (cluster-bootstrap/token/jws). */
function sign(payload: string, id = ID, secret = SECRET): string {
  const header = Buffer.from(JSON.stringify({ alg: 'HS256', kid: id })).toString('base64url');
  const mac = createHmac('sha256', secret).update(`${header}.${Buffer.from(payload).toString('base64url')}`);
  return `${header}..${mac.digest('base64url')}`;
}

describe('lab/discover-ca.mjs', () => {
  let pki: TestPki;
  let server: Server;
  let data: Record<string, string> = {};
  const asked: string[] = [];

  beforeAll(async () => {
    pki = new TestPki();
    server = createServer(pki.server(), (request, response) => {
      asked.push(request.url ?? '');
      response.end(JSON.stringify({ kind: 'ConfigMap', data }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    server.close();
    pki.close();
  });

  const kubeconfig = (): string =>
    `apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: ${Buffer.from(pki.ca).toString('base64')}\n`;
  const discover = (token = `${ID}.${SECRET}`) =>
    tryCommand([
      process.execPath,
      join(projectRoot(), 'lab/discover-ca.mjs'),
      `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      token,
    ]);

  it('prints the CA that the token has signed', async () => {
    data = { kubeconfig: kubeconfig(), [`jws-kubeconfig-${ID}`]: sign(kubeconfig()) };
    expect(await discover()).toEqual({ code: 0, stdout: pki.ca, stderr: '' });
    expect(new Set(asked)).toEqual(new Set(['/api/v1/namespaces/kube-public/configmaps/cluster-info']));
  });

  it.each([
    ['another secret', (text: string) => sign(text, ID, 'fedcba9876543210')],
    ['another text', (text: string) => sign(`${text}# changed`)],
    ['another token', (text: string) => sign(text, 'fedcba')],
    ['no signature', () => `${sign('').split('.')[0]}..`],
  ])('refuses one that is signed with or for %s', async (_what, signed) => {
    data = { kubeconfig: kubeconfig(), [`jws-kubeconfig-${ID}`]: signed(kubeconfig()) };
    const { code, stdout, stderr } = await discover();
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('the signature of cluster-info is not that of the token abcdef');
  });

  it('refuses what is no token', async () => {
    expect((await discover('nothing')).code).toBe(2);
  });
});
